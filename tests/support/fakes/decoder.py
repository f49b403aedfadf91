"""A decoder that reads what a :class:`FakeMessage` says it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import polars as pl

from callsheet.batch import (
    Batch,
    Decoded,
    Message,
    Park,
    Poison,
    Skip,
    Truncation,
)
from callsheet.errors import (
    Reason,
    RetryableError,
)
from callsheet.schema import TableSchema
from tests.support.fakes.world import FakeMessage, World


class FakeDecoder:
    """One batch per topic and schema, so that batches of one topic interleave."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_away = False

    def decode(self, messages: Sequence[Message]) -> Decoded:
        if self.is_away:
            raise RetryableError("no registry")
        rows: dict[tuple[str, str], list[FakeMessage]] = defaultdict(list)
        poison: list[Poison] = []
        truncations: list[Truncation] = []
        skipped: dict[Skip, int] = defaultdict(int)
        parked = {m.topic() for m in messages if fake_message(m).kind == "undecodable"}
        for message in map(fake_message, messages):
            if message.topic() in parked:
                continue
            if message.is_row:
                rows[message.topic(), message.text.split()[2]].append(message)
            elif message.kind == "poison":
                poison.append(Poison(message, Reason.MALFORMED, "poison"))
            elif message.kind == "truncate":
                truncations.append(Truncation(message, message.topic(), message.version))
            else:
                skipped[Skip.TOMBSTONE] += 1
        batches = [fake_batch(topic, schema, members) for (topic, schema), members in rows.items()]
        parks = [Park(topic, "undecodable", "test") for topic in sorted(parked)]
        return Decoded(batches, skipped, poison, truncations, parks)


def fake_message(message: Message) -> FakeMessage:
    assert isinstance(message, FakeMessage)
    return message


def fake_batch(topic: str, schema: str, members: list[FakeMessage]) -> Batch:
    table = TableSchema("studio", "finance", topic, (), ("id",), f"{topic}-{schema}")
    frame = pl.DataFrame(
        {
            "partition": [m.at.number for m in members],
            "offset": [m.number for m in members],
            "version": [m.version for m in members],
            "ts_us": [m.version for m in members],
        }
    )
    return Batch(topic, table, frame, members, 10 * len(members))
