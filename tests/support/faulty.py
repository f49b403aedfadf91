"""A server that a test stops, freezes or slows, and that is well again at the end of the block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import psutil

from stack import Stack
from tests.support.tcp_proxy import TcpProxy

DELAY_S: Final = 0.25
"""Of a slowed server: for each piece of data, in either direction."""
_STILL_S, _RUNNING_S = 0.45, 0.05
"""A server that no proxy can stand before gets a tenth of the time."""


class Mode(StrEnum):
    STOPPED = "stopped"
    """kill -9; at the end started again on what it had on disk."""
    FROZEN = "frozen"
    """SIGSTOP: its connections stay open, and it answers nothing."""
    SLOWED = "slowed"
    """Every answer comes late."""


@dataclass(frozen=True, slots=True)
class Server:
    """``start`` returns once it answers. ``proxy``: what its clients under test go through."""

    name: str
    kill: Callable[[], None]
    start: Callable[[], None]
    processes: Callable[[], Sequence[psutil.Process]]
    proxy: TcpProxy | None = None

    @contextmanager
    def faulty(self, mode: Mode) -> Iterator[None]:
        """In this way for the length of the block."""
        breaks = {Mode.STOPPED: self._stopped, Mode.FROZEN: self._frozen, Mode.SLOWED: self._slowed}
        with breaks[mode]():
            yield

    @contextmanager
    def _stopped(self) -> Iterator[None]:
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        members = self.processes()
        _suspend(members)
        try:
            yield
        finally:
            _resume(members)

    @contextmanager
    def _slowed(self) -> Iterator[None]:
        if self.proxy is None:
            with _stuttering(self.processes()):
                yield
            return
        self.proxy.delay_s = DELAY_S
        try:
            yield
        finally:
            self.proxy.delay_s = 0.0


def of_stack(
    stack: Stack, name: str, proxy: TcpProxy | None = None, *, answers_as: str | None = None
) -> Server:
    """A server of the stack. ``answers_as``: whoever must answer before this one is of use."""
    return Server(
        name,
        lambda: stack.kill(name),
        lambda: stack.up([answers_as or name]),
        lambda: stack.processes(name),
        proxy,
    )


@contextmanager
def _stuttering(members: Sequence[psutil.Process]) -> Iterator[None]:
    stop = threading.Event()

    def stutter() -> None:
        while not stop.is_set():
            _suspend(members)
            stop.wait(_STILL_S)
            _resume(members)
            stop.wait(_RUNNING_S)

    thread = threading.Thread(target=stutter)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        _resume(members)


def _suspend(members: Sequence[psutil.Process]) -> None:
    for each in members:
        with suppress(psutil.NoSuchProcess):
            each.suspend()


def _resume(members: Sequence[psutil.Process]) -> None:
    for each in members:
        with suppress(psutil.NoSuchProcess):
            each.resume()
