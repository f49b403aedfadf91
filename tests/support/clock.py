"""A clock that moves only when told, or when somebody sleeps."""

from __future__ import annotations


class FakeClock:
    def __init__(self, start_s: float = 1_000.0) -> None:
        self.now_s = start_s
        self.slept_s: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return 1_800_000_000.0 + self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        assert seconds >= 0
        self.now_s += seconds
