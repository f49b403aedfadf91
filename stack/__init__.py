"""The real servers on a machine without containers: fetched, started, looked at, stopped."""

from __future__ import annotations

from stack.inspection import machine_findings
from stack.ports import Ports
from stack.progress import Progress, Silence
from stack.runner import ServerStatus, State
from stack.servers import DEFAULT_SERVERS
from stack.stack import Stack

__all__ = [
    "DEFAULT_SERVERS",
    "Ports",
    "Progress",
    "ServerStatus",
    "Silence",
    "Stack",
    "State",
    "machine_findings",
]
