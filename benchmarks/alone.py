"""A sink measured alone, in a process of its own: its polls are made here, and their cost told."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from callsheet.errors import FatalError
from callsheet.limits import Limits
from tests.support.envelopes import FakeMessage

PARTITIONS: Final = 4


def in_a_process(
    module: str, events: int, environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What the module says when it is run with the number of events: one line of JSON."""
    command = [sys.executable, "-m", module, str(events)]
    env = None if environ is None else dict(environ)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise FatalError(f"{module} failed: {done.stderr[-1000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def polls(messages: Sequence[FakeMessage], events: int) -> Iterator[list[FakeMessage]]:
    """As the consumer would give them: records of all partitions, offsets that go on."""
    size = Limits().poll_events
    for start in range(0, events, size):
        numbers = range(start, min(start + size, events))
        yield [
            replace(messages[n % len(messages)], partition_=n % PARTITIONS, offset_=n // PARTITIONS)
            for n in numbers
        ]


def making_s(messages: Sequence[FakeMessage], events: int) -> float:
    """What making the polls costs, which a real consumer's client does outside of Python."""
    started = time.process_time()
    for _ in polls(messages, events):
        pass
    return time.process_time() - started
