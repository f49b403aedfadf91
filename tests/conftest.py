"""Fixtures for every test. A test that uses the real servers is marked `stack` by that alone."""

from __future__ import annotations

import pytest

from tests.support.stack import live_stack, stack_env

__all__ = ["live_stack", "stack_env"]


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
