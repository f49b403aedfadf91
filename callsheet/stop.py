"""To be told to stop by a signal."""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Empty, SimpleQueue


class Stop(threading.Event):
    """An event that a signal's handler may set while the very thread that it interrupts waits for
    it, or sets it. With its parent's lock, which is not reentrant, each would wait for the other.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_stopped = False
        self._told: SimpleQueue[None] = SimpleQueue()  # made for being interrupted by itself

    def is_set(self) -> bool:
        return self._is_stopped

    def set(self) -> None:
        self._is_stopped = True
        self._told.put(None)

    def clear(self) -> None:
        self._is_stopped = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            with suppress(Empty):
                self._told.get(timeout=timeout)
            if self.is_set():
                self._told.put(None)  # for whoever else waits
        return self.is_set()
