"""Benchmarks: each module measures what the README promises. ``python -m benchmarks --help``."""
