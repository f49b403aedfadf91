"""How long work tells what it does; the command line decides how that looks."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told from several threads at once."""

    def say(self, message: str) -> None:
        """One line, worth reading."""

    def advance(self, task: str, done_bytes: int, total_bytes: int) -> None:
        """``task`` has got so far; called several times a second."""

    def finish(self, task: str) -> None:
        """``task`` is over, well or not."""


class Silence:
    """For callers that are not looked at."""

    def say(self, message: str) -> None:
        """Say nothing."""

    def advance(self, task: str, done_bytes: int, total_bytes: int) -> None:
        """Show nothing."""

    def finish(self, task: str) -> None:
        """Show nothing."""
