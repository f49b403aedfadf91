"""A capture of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.capture import Capture


@pytest.fixture
def capture(stack_env: dict[str, str], tmp_path: Path) -> Iterator[Capture]:
    made = Capture(stack_env, tmp_path)
    try:
        made.create_database()
        yield made
    finally:
        made.close()
