"""Run the supervisor in the foreground: signals end it, and only news is printed."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
from rich.text import Text

from callsheet.cli import console
from callsheet.stop import Stop
from connectors.supervisor import Action, Decision, Health, Policy, Watch, supervise


class _StoppableClock:
    """The system's clock, whose sleep ends when the process is told to stop."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)


class _News:
    """Prints a decision unless it says what the last one said."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._last: dict[str, Health] = {}

    def __call__(self, name: str, decision: Decision) -> None:
        # Between two heartbeats nothing moves: waiting and moving take turns, which is no news.
        mood = Health.MOVING if decision.health is Health.WAITING else decision.health
        if self._last.get(name) is mood and decision.action is Action.NONE:
            return
        self._last[name] = mood
        at = datetime.now(UTC).isoformat(timespec="seconds")
        if self._as_json:
            line = {"at": at, "connector": name, "decision": decision}
            sys.stdout.write(orjson.dumps(line).decode() + "\n")
        else:
            did = "" if decision.action is Action.NONE else f" -> {decision.action}"
            text = f"{at} {name}: {decision.health}: {decision.reason}{did}"
            console.stdout().print(Text(f"{text} {decision.hint}".rstrip()))
        sys.stdout.flush()


def run(watches: Sequence[Watch], policy: Policy, *, as_json: bool) -> None:
    """Supervise until SIGTERM or SIGINT."""
    stop = Stop()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        supervise(
            watches,
            policy,
            _StoppableClock(stop),
            report=_News(as_json=as_json),
            stopped=stop.is_set,
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
