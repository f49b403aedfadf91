"""One topic's records into runs that can become batches, log order kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from callsheet.batch import Message

Signature = Hashable
"""Equal for records that share a value schema and a key schema."""


@dataclass(slots=True)
class Group:
    signature: Signature
    messages: list[Message] = field(default_factory=list)


def groups_of(
    messages: Sequence[Message], signature_of: Callable[[Message], Signature]
) -> list[Group]:
    """The fewest groups of one signature each, to be taken in this order.

    A record goes to the first group of its signature that is not before the group of its
    partition's previous record: so each partition's records stay in log order even where schemas
    alternate, and partitions share groups.
    """
    groups: list[Group] = []
    at: dict[int, int] = {}
    for message in messages:
        signature, partition = signature_of(message), message.partition()
        index = at.get(partition, 0)
        while index < len(groups) and groups[index].signature != signature:
            index += 1
        if index == len(groups):
            groups.append(Group(signature))
        groups[index].messages.append(message)
        at[partition] = index
    return groups
