"""Start a connector over: the only change of offsets that is safe without knowing MySQL's log."""

from __future__ import annotations

from callsheet.errors import UnavailableError, UsageError
from callsheet.ports import Clock, Deadline
from connectors.client import ConnectClient
from connectors.responses import ConnectorStatus, State

_POLL_S = 0.3
_STOP_WAIT_S = 60.0


def start_over(connect: ConnectClient, name: str, clock: Clock) -> bool:
    """Stop it, forget its offsets, and resume it if it was meant to run; tells whether it was.

    Raises:
        UsageError: there is no such connector.
        UnavailableError: it did not stop in time; its offsets are as they were.
    """
    status = connect.status(name)
    if status is None:
        raise UsageError(f"Connect knows no connector {name!r}.")
    was_meant_to_run = status.state not in {State.PAUSED, State.STOPPED}
    connect.stop(name)
    deadline = Deadline.after(clock, _STOP_WAIT_S)
    while not _is_stopped(connect.status(name)):
        if deadline.expired():
            raise UnavailableError(
                f"Connector {name} did not stop in {_STOP_WAIT_S:.0f} s.",
                hint="A worker may be dead but alive: `callsheet stack status`.",
            )
        clock.sleep(_POLL_S)
    connect.reset_offsets(name)
    if was_meant_to_run:
        connect.resume(name)
    return was_meant_to_run


def _is_stopped(status: ConnectorStatus | None) -> bool:
    """Its tasks too: Connect refuses to touch offsets while one may still commit some."""
    return status is not None and status.state is State.STOPPED and not status.tasks
