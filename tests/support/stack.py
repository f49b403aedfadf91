"""The suite's own servers: started once a session, on free ports, gone afterwards.

For developers: ``CALLSHEET_TEST_STACK=dev pytest ...`` uses a stack that already runs, and leaves
it running.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import pytest

from stack import Ports, Silence, Stack, State

_MOST_AT_ONCE = 8


class _ToStderr(Silence):
    def say(self, message: str) -> None:
        sys.stderr.write(f"[stack] {message}\n")


@pytest.fixture(scope="session")
def live_stack() -> Iterator[Stack]:
    """Running servers, and the means to kill, pause and restart them. Leave them running."""
    if name := os.environ.get("CALLSHEET_TEST_STACK"):
        yield _running(name)
        return
    with ExitStack() as held:
        stack = a_stack_of_its_own(held)
        # atexit too: it also runs where a hard exit of pytest skips the fixture's end.
        held.callback(atexit.unregister, atexit.register(stack.down, purge=True))
        held.callback(stack.down, _ToStderr(), purge=True)
        held.enter_context(_sigterm_ends_the_session())
        stack.up(progress=_ToStderr(), ports=Ports.free())
        yield stack


@pytest.fixture(scope="session")
def stack_env(live_stack: Stack) -> dict[str, str]:
    """The CALLSHEET_* variables of the running servers."""
    return live_stack.environment()


def _running(name: str) -> Stack:
    stack = Stack.named(name)
    if away := [each.server for each in stack.status() if each.state is not State.RUNNING]:
        pytest.fail(f"CALLSHEET_TEST_STACK={name}: {', '.join(away)} is not running.")
    return stack


def a_stack_of_its_own(held: ExitStack, label: str = "") -> Stack:
    """The first stack of this checkout that no other session holds; it is not up, and empty.

    Its name is stable, so that what a killed session left is found; its lock ends with ``held``.
    """
    checkout = hashlib.sha256(str(Path(__file__).resolve().parents[2]).encode()).hexdigest()[:6]
    env = {"CALLSHEET_ES_HEAP": "512m", **os.environ}
    for number in range(1, _MOST_AT_ONCE + 1):
        stack = Stack.named(f"test-{checkout}-{label}{number}", env)
        stack.home.parent.mkdir(parents=True, exist_ok=True)
        lock = held.enter_context(stack.home.with_suffix(".session-lock").open("a"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        stack.down(purge=True)  # left by a session that was killed
        return stack
    pytest.fail(f"{_MOST_AT_ONCE} sessions of this checkout already have servers of their own.")


@contextmanager
def _sigterm_ends_the_session() -> Iterator[None]:
    def end(_number: int, _frame: FrameType | None) -> None:
        pytest.exit("terminated", returncode=143)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
