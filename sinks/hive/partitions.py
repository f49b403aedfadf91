"""What a date's partition of a table consists of, once it is not simply what the ranges put there.

Compaction and retention never change what workers have written: they state anew what counts. A
*state* of a partition says: of each lane, whatever ranges up to *this* offset have put into it
counts no more; these files do instead. What later ranges put there counts beside them.

States are numbered, each created under a name that can be taken once, and the highest counts. Who
wants to write one first *claims* the partition: it repeats the state under the next number. From
then on whoever claimed it before can state nothing, since the name that it needs is taken, and the
files that it wrote and nobody names can be removed. This is the order of docs/adr/0011 again.

::

    _callsheet/partitions/<table>/<date>.<version>.json
    <table>.merged/event_date=<date>/<version>-<owner>/…      the files of a state, Hive's location
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from callsheet.batch import Offset
from callsheet.errors import FatalError, FencedError
from sinks.hive.entries import DataFile, Piece
from sinks.hive.layout import PARTITION_COLUMN
from sinks.hive.ranges import OWN_FOLDER
from sinks.hive.stores.port import Store

FORMAT: Final = 1
CLAIM_S: Final = 3_600
"""A claim that is older is taken for that of a run that has crashed."""


class MergedFile(msgspec.Struct, frozen=True):
    """Rows of one lane and one schema, in the order of their offsets."""

    lane: str
    first: Offset
    end: Offset
    file: DataFile

    def piece(self) -> Piece:
        return Piece(self.lane, self.first, self.end, self.file)


class PartitionState(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    Attributes:
        upto: per lane the end of the last range whose files of this date count no more.
        folder: where its files are and Hive's partition is to be; empty: where workers put theirs.
        dropped: per lane the rows that retention has taken away.
        retired: folders of earlier states, to be removed.
        settled_at: when its files took the place of others, ISO-8601, UTC.
        is_clean: what they took the place of is removed.
        owner: who has claimed the partition, and is at work on it or has crashed; else empty.
    """

    table: str
    date: str
    version: int = 0
    upto: Mapping[str, Offset] = {}
    folder: str = ""
    files: tuple[MergedFile, ...] = ()
    dropped: Mapping[str, int] = {}
    retired: tuple[str, ...] = ()
    settled_at: str = ""
    is_clean: bool = True
    owner: str = ""
    claimed_at: str = ""
    format: int = FORMAT

    @property
    def name(self) -> str:
        return f"{self.date}.{self.version:06d}.json"

    @property
    def place(self) -> str:
        """Its name for people."""
        return f"{self.table} {self.date}"

    @property
    def location(self) -> str:
        """Of Hive's partition, from the store's root on."""
        return self.folder or home(self.table, self.date)

    def covers(self, piece: Piece) -> bool:
        """Does the file count no more, because this state has its rows, or has dropped them?"""
        return piece.end <= self.upto.get(piece.lane, 0)

    def folder_after(self) -> str:
        """For the files of the state that follows this claim."""
        return f"{merged(self.table, self.date)}/{self.version + 1:06d}-{self.owner}"

    def following(self, **changes: object) -> PartitionState:
        """The next state: nobody's, unless it says so."""
        free: dict[str, object] = {"owner": "", "claimed_at": ""}
        return msgspec.structs.replace(self, version=self.version + 1, **(free | changes))


def home(table: str, date: str) -> str:
    """The folder in which workers put their files."""
    return f"{table}/{PARTITION_COLUMN}={date}"


def merged(table: str, date: str = "") -> str:
    """The folder of the folders of a partition's states. Not within the table's own: what repairs
    a table's partitions by looking around there must not find a date twice.
    """
    return f"{table}.merged/{PARTITION_COLUMN}={date}" if date else f"{table}.merged"


Known = dict[str, dict[str, PartitionState]]
"""States that were read before, per table and name; what is stated once never changes."""


class PartitionLog:
    """Reads states, and adds to them. ``known``: kept by those who come again and again."""

    def __init__(self, store: Store, known: Known | None = None) -> None:
        self._store, self._known = store, {} if known is None else known

    def newest(self, table: str) -> dict[str, PartitionState]:
        """By date; a date without any is what its ranges say.

        Raises:
            FatalError: one cannot be read.
        """
        while True:
            names = self._newest_names(table)
            found = {date: self._read(table, name) for date, name in names.items()}
            states = {date: state for date, state in found.items() if state is not None}
            if len(states) == len(found) or self._newest_names(table) == names:
                break  # else a newer one came, and the older one was removed
        for date, name in names.items():
            if date not in states:
                raise _unreadable(table, name)
        self._known[table] = {state.name: state for state in states.values()}
        return states

    def _newest_names(self, table: str) -> dict[str, str]:
        # Sorted, so the last of each date is the newest.
        return {name.split(".")[0]: name for name in self._store.names(_folder(table))}

    def _read(self, table: str, name: str) -> PartitionState | None:
        if known := self._known.get(table, {}).get(name):
            return known
        data = self._store.read(f"{_folder(table)}/{name}")
        if data is None:
            return None
        try:
            state = msgspec.json.decode(data, type=PartitionState)
        except msgspec.DecodeError as error:
            raise _unreadable(table, name) from error
        if state.format != FORMAT or state.name != name:
            raise _unreadable(table, name)
        return state

    def add(self, state: PartitionState) -> None:
        """
        Raises:
            FencedError: somebody else has claimed the partition since.
        """
        folder = _folder(state.table)
        data = msgspec.json.format(msgspec.json.encode(state), indent=1)
        is_ours = self._store.create(f"{folder}/{state.name}", data)
        is_ours = is_ours or self._store.read(f"{folder}/{state.name}") == data
        there = [
            name
            for name in self._store.names(folder, f"{state.date}.")
            if name.startswith(f"{state.date}.")
        ]
        # The names of old states are free again: who slept that long states nothing that counts.
        if not is_ours or there[-1] > state.name:
            raise FencedError(
                f"somebody else works on {state.place} now",
                hint="two compactions, or a compaction and an expiry, at once: the later one goes "
                "on, and nothing is lost",
            )
        for name in there[:-1]:
            self._store.remove(f"{folder}/{name}")


def sweep(store: Store, state: PartitionState) -> None:
    """Remove what earlier claims left: folders that no state names, and none can name any more.

    Not those of later claims, of which whoever holds this state may not have heard: they have
    higher numbers.
    """
    place = merged(state.table, state.date)
    for name in store.names(place):
        is_older = name < f"{state.version + 1:06d}"
        if is_older and f"{place}/{name}" not in {state.folder, *state.retired}:
            store.remove(f"{place}/{name}")


def is_claimed(state: PartitionState, now: datetime) -> bool:
    """Is somebody at work on it, who has not been silent for so long that it must have crashed?
    Only a courtesy: who is wrong about it is shut out, or shuts the other one out.
    """
    return bool(state.owner) and age_s(state.claimed_at, now) < CLAIM_S


def stamp(moment: datetime) -> str:
    """ISO-8601, UTC, as the audit's own documents have it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age_s(moment: str, now: datetime) -> float:
    """Of such a stamp."""
    return (now - datetime.fromisoformat(moment)).total_seconds()


def _folder(table: str) -> str:
    return f"{OWN_FOLDER}/partitions/{table}"


def _unreadable(table: str, name: str) -> FatalError:
    return FatalError(
        f"the audit's statement {name} about a partition of {table} cannot be read",
        hint="restore _callsheet/partitions from a backup; what a newer Callsheet wrote needs a "
        "newer Callsheet",
    )
