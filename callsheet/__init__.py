"""Callsheet: every store follows the log."""

from __future__ import annotations

__version__ = "0.1.0"
