"""Becoming a lane's only writer: finish what the one before began, then shut it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import uuid4

from callsheet.errors import RetryableError
from sinks.hive.entries import Entry, Lane
from sinks.hive.ranges import RangeLog, staging
from sinks.hive.stores.port import Store

_TRIES: Final = 20


def take_over(store: Store, lane: Lane, now: Callable[[], str]) -> Entry:
    """The claim that makes us the lane's writer; our first range follows it, at its ``end``.

    1. The last entry may have been published and its files not all moved in place: move them. An
       entry is published only when its staged files are whole, and the one before it is in place.
    2. Claim: take the name that the writer before us needs next. Taken already means that it (or
       another new owner) was quicker: look again, from 1.
    3. Only now can nobody publish a staged file any more: remove them.

    Raises:
        LostFileError: an entry names a file that is nowhere.
        RetryableError: the store is away, or others keep coming first.
    """
    log, writer = RangeLog(store), uuid4().hex
    for _ in range(_TRIES):
        last = log.last(lane.name)
        if last is not None and last.name > log.mark(lane.name):
            put_in_place(store, last)
        start, take = last.following() if last else (0, 0)
        newest = last.newest_version if last else 0
        claim = Entry(
            lane, start, take, first=start, end=start, writer=writer, written_at=now(),
            newest_version=newest, is_claim=True,
        )  # fmt: skip
        if log.append(claim):
            log.set_mark(lane.name, claim.name)
            _clean(store, lane)
            return claim
    raise RetryableError(
        f"others keep taking over {lane.name}",
        hint="do two pipelines, or two groups, write into one audit?",
    )


def put_in_place(store: Store, entry: Entry) -> None:
    """Move an entry's files to where readers find them; what is there already stays."""
    for file in entry.files:
        store.move(file.staged, file.path)


def _clean(store: Store, lane: Lane) -> None:
    folder = staging(lane.name)
    for writer in store.names(folder):
        store.remove(f"{folder}/{writer}")
