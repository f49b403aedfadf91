"""How far a connector has come, and whether that is further than before.

RUNNING is what Connect was told last: a task on a dead socket is RUNNING, and so is, for a while,
a worker that was killed. Progress cannot be faked: the source offset that a connector commits
with its records moves with every change and every heartbeat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.responses import SourceOffset

_FILE_ORDINAL = re.compile(r"\.(\d+)$")


@dataclass(frozen=True, slots=True, order=True)
class BinlogPosition:
    """A place in MySQL's binlog; ordered as the log is, as long as the server is the same one."""

    ordinal: int
    position: int
    file: str = ""

    @classmethod
    def parse(cls, file: str, position: int) -> BinlogPosition:
        """``binlog.000007`` is ordinal 7: names sort wrongly once they outgrow their zeros."""
        found = _FILE_ORDINAL.search(file)
        return cls(int(found.group(1)) if found else 0, position, file)

    def __str__(self) -> str:
        return f"{self.file}:{self.position}"


@dataclass(frozen=True, slots=True)
class Progress:
    """A connector's own account. Two are equal exactly if nothing happened in between."""

    offsets: str
    """All committed source offsets, as one comparable text."""
    position: BinlogPosition | None
    """Where in the binlog that is; None before the first commit."""
    snapshotting: bool
    """A snapshot's offset stands still while its rows flow: see ``written``."""
    written: int = 0
    """The sum of the end offsets of the topics that it writes to."""


def measure(offsets: Sequence[SourceOffset], ends: Mapping[str, int]) -> Progress:
    """From ``GET /connectors/x/offsets`` and the end offsets of the connector's topics."""
    known = [dict(entry.offset) for entry in offsets if entry.offset]
    positions = [
        BinlogPosition.parse(str(offset["file"]), int(offset["pos"]))
        for offset in known
        if "file" in offset and "pos" in offset
    ]
    return Progress(
        offsets=repr(sorted(sorted(offset.items()) for offset in known)),
        position=max(positions, default=None),
        # Debezium marks each offset of a snapshot, the last one excepted.
        snapshotting=not known or any(offset.get("snapshot") for offset in known),
        written=sum(ends.values()),
    )


def has_moved(before: Progress, now: Progress) -> bool:
    """Whether anything was committed or written between the two."""
    return before.offsets != now.offsets or before.written != now.written
