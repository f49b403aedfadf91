"""Waiting in tests: poll, never sleep for a while and hope."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 90.0
_LOOK_S: Final = 0.1


def until(is_true: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Poll; fails the test when it does not come true."""
    end = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < end, f"not within {patience_s:.0f} s: {what}"
        time.sleep(_LOOK_S)
