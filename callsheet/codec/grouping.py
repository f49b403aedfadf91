"""One topic's records into runs that can become batches, log order kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field

from callsheet.batch import Message

Signature = Hashable
"""Equal for records that share a value schema and a key schema."""


@dataclass(slots=True)
class Records:
    """Messages and, taken out of them once, their bytes; the lists are parallel."""

    messages: list[Message] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.values)) + sum(map(len, filter(None, self.keys)))

    def add(self, message: Message, value: bytes, key: bytes | None) -> None:
        self.messages.append(message)
        self.values.append(value)
        self.keys.append(key)

    def since(self, index: int) -> Records:
        """Those from this index on."""
        if index == 0:
            return self
        return Records(self.messages[index:], self.values[index:], self.keys[index:])

    def without(self, indices: Collection[int]) -> Records:
        """Those whose index is not among these."""
        if not indices:
            return self
        kept = [index for index in range(len(self)) if index not in indices]
        return Records(
            [self.messages[index] for index in kept],
            [self.values[index] for index in kept],
            [self.keys[index] for index in kept],
        )


@dataclass(slots=True)
class Group:
    signature: Signature
    records: Records = field(default_factory=Records)


def groups_of(records: Records, signature_of: Callable[[int], Signature]) -> list[Group]:
    """The fewest groups of one signature each, to be taken in this order.

    A record goes to the first group of its signature that is not before the group of its
    partition's previous record: so each partition's records stay in log order even where schemas
    alternate, and partitions share groups. ``signature_of`` takes a record's index.
    """
    groups: list[Group] = []
    at: dict[int, int] = {}
    for index, message in enumerate(records.messages):
        signature, partition = signature_of(index), message.partition()
        place = at.get(partition, 0)
        while place < len(groups) and groups[place].signature != signature:
            place += 1
        if place == len(groups):
            groups.append(Group(signature))
        groups[place].records.add(message, records.values[index], records.keys[index])
        at[partition] = place
    return groups
