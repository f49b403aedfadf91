"""What no longer counts leaves the store: files and folders whose place others have taken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sinks.hive.contents import View
from sinks.hive.partitions import PartitionLog, PartitionState, age_s, is_claimed, sweep
from sinks.hive.ranges import RangeLog


def due(view: View, now: datetime, grace_s: float) -> Iterator[PartitionState]:
    """States whose predecessors' files may be removed; those that others work on are not."""
    for states in view.states.values():
        for state in states.values():
            if state.is_clean or is_claimed(state, now):
                continue
            # What expired is to be gone; what was merged some reader may still read.
            if not state.files or age_s(state.settled_at, now) >= grace_s:
                yield state


def clean(log: RangeLog, view: View, state: PartitionState) -> int:
    """``view``: not older than the state. Returns how many files were removed.

    Raises:
        FencedError: somebody else has claimed the partition; all that was removed was to go anyway.
    """
    gone = view.covered(state)
    for piece in gone:
        log.store.remove(piece.file.path)
    files = len(gone)
    for folder in state.retired:
        files += len(log.store.names(folder))
        log.store.remove(folder)
    sweep(log.store, state)
    PartitionLog(log.store).add(state.following(retired=(), is_clean=True))
    return files
