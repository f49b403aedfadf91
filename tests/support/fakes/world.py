"""The truth that the fakes check each call of the worker against: the log, what each destination
really has, what the group has committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from callsheet.batch import (
    Offset,
    Partition,
)
from tests.support.clock import FakeClock

Place = tuple[Partition, Offset]


@dataclass(slots=True)
class FakeMessage:
    """``text`` says what the record is: ``row <id> <schema>``, ``tombstone``, ``poison``,
    ``truncate``, ``undecodable`` (its table parks), ``refused`` (a row that the sink rejects),
    ``unfit`` (a row at which the sink parks the table).
    """

    at: Partition
    number: Offset
    text: str
    version: int = 0

    def topic(self) -> str:
        return self.at.topic

    def partition(self) -> int:
        return self.at.number

    def offset(self) -> int:
        return self.number

    def key(self) -> bytes | None:
        return b"k"

    def value(self) -> bytes | None:
        return self.text.encode()

    def headers(self) -> Sequence[tuple[str, bytes | None]] | None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_800_000_000_000

    @property
    def kind(self) -> str:
        return self.text.split()[0]

    @property
    def id(self) -> str:
        """Keys belong to one partition each."""
        return f"{self.at}/{self.text.split()[1]}"

    @property
    def is_row(self) -> bool:
        return self.kind in ("row", "refused", "unfit")


class World:
    """The truth."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = FakeClock()
        self.log: dict[Partition, list[FakeMessage | None]] = {}
        """None is a control record of a transaction: it takes an offset, nobody reads it."""
        self.committed: dict[Partition, Offset] = {}
        self.durable: set[Place] = set()
        self.letters: set[Place] = set()
        """Acknowledged ones."""
        self.store: dict[str, int] = {}
        """Per ID the highest version that was applied."""
        self.skips_truncates_of: frozenset[str] = frozenset()
        """Topics."""

    def at(self, place: Place) -> FakeMessage | None:
        partition, offset = place
        return self.log[partition][offset]

    def apply(self, message: FakeMessage) -> None:
        self.store[message.id] = max(message.version, self.store.get(message.id, 0))
        self.durable.add((message.at, message.number))

    def is_done(self, place: Place) -> bool:
        """May a commit pass this record?"""
        message = self.at(place)
        if message is None or message.kind == "tombstone":
            return True
        if message.kind == "truncate":
            return message.at.topic in self.skips_truncates_of
        return place in self.durable or place in self.letters

    def check_commit(self, partition: Partition, offset: Offset) -> None:
        start = self.committed.get(partition, 0)
        assert offset <= len(self.log[partition]), "committed beyond the end of the log"
        for number in range(start, offset):
            assert self.is_done((partition, number)), (
                f"commit {offset} of {partition} passes offset {number}, which is nowhere: "
                f"{self.at((partition, number))}"
            )
