"""How much of what was sent no broker has acknowledged yet."""

from __future__ import annotations

from collections import deque


class Unacknowledged:
    """Bytes in flight, told from the number of records that the client still holds.

    The client tells no bytes. It acknowledges about in order, so a call of ``send`` counts whole
    until as many records as came after it are all that is left.
    """

    def __init__(self) -> None:
        self._sent: deque[tuple[int, int]] = deque()
        self._records = self._bytes = 0

    def add(self, records: int, size_bytes: int) -> None:
        self._sent.append((records, size_bytes))
        self._records += records
        self._bytes += size_bytes

    def size_bytes(self, waiting: int) -> int:
        """``waiting``: records that the client holds now."""
        while self._sent and self._records - self._sent[0][0] >= waiting:
            records, size_bytes = self._sent.popleft()
            self._records -= records
            self._bytes -= size_bytes
        return self._bytes

    def clear(self) -> None:
        self._sent.clear()
        self._records = self._bytes = 0
