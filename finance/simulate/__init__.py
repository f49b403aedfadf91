"""A stream of plausible business changes on the finance tables, for tests, benchmarks and demos."""

from finance.simulate.schedule import Until
from finance.simulate.simulator import Simulator
from finance.simulate.summary import Progress, Summary

__all__ = ["Progress", "Simulator", "Summary", "Until"]
