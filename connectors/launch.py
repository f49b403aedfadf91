"""Wait until a connector proves that it works, or say why it does not."""

from __future__ import annotations

from collections.abc import Callable

from callsheet.errors import FatalError, UnavailableError
from callsheet.ports import Deadline
from connectors.client import ConnectClient
from connectors.progress import Progress, has_moved
from connectors.responses import ConnectorStatus
from connectors.traces import root_cause

_POLL_S = 0.5
_FAILED_FOR_S = 5.0
"""How long FAILED must last: just after a change the status still tells of the time before."""


def wait_for_progress(
    connect: ConnectClient,
    name: str,
    before: Progress,
    measure: Callable[[], Progress],
    deadline: Deadline,
) -> float:
    """Wait until it is RUNNING and further than ``before``; returns the seconds that took.

    Raises:
        FatalError: it failed; says the root cause.
        UnavailableError: the deadline passed.
    """
    clock = deadline.clock
    started_s = working_s = clock.monotonic()  # working: last seen as anything but FAILED
    while True:
        status = connect.status(name)
        now_s = clock.monotonic()
        if status is None or not status.failed:
            working_s = now_s
        elif now_s - working_s >= _FAILED_FOR_S:
            raise failure(status)
        if status and status.running and has_moved(before, measure()):
            return now_s - started_s
        if deadline.expired():
            raise _late(name, status, now_s - started_s)
        clock.sleep(_POLL_S)


def failure(status: ConnectorStatus) -> FatalError:
    """The error for a FAILED connector: the root cause, and what to do about it."""
    cause = root_cause(status.traces[0] if status.traces else "")
    hint = cause.hint or f"`callsheet connectors restart {status.name}` tries again."
    return FatalError(f"Connector {status.name} failed: {cause.text}", hint=hint)


def _late(name: str, status: ConnectorStatus | None, wait_s: float) -> UnavailableError:
    state = status.state.value if status else "not known to Connect"
    return UnavailableError(
        f"Connector {name} made no progress in {wait_s:.0f} s; it is {state}.",
        hint=f"`callsheet connectors status {name}`; the worker's log says more.",
    )
