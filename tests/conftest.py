"""Fixtures for every test. A test that uses the real servers is marked `stack` by that alone."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.stack import live_stack, stack_env

__all__ = ["live_stack", "stack_env"]


# An example that takes long says how busy the machine is: real servers run beside it. What hangs is
# found by pytest's own time limit.
settings.register_profile("callsheet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("callsheet")

_ITS_OWN = "PYTEST_CURRENT_TEST"


@pytest.fixture(autouse=True)
def environment_stays() -> Iterator[None]:
    """A command that runs in this process fills in what is unset; another test must not see it."""
    before = dict(os.environ)
    yield
    before.pop(_ITS_OWN, None)
    for name in os.environ.keys() - before.keys() - {_ITS_OWN}:
        del os.environ[name]
    os.environ.update(before)


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "live_stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.stack)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what came out as what is expected"
    )
    parser.addoption(
        "--fault-seconds",
        type=float,
        default=None,
        help="the whole fault matrix, each server away for so long; its results are written",
    )
