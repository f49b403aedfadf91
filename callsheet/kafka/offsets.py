"""Where to move a consumer group: what people write, and what it means for each partition."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

from callsheet.batch import Offset, Partition
from callsheet.errors import UsageError
from callsheet.kafka.groups import PartitionOffsets
from callsheet.runtime import RunRecord

_EXPLICIT = re.compile(r"(?P<topic>[A-Za-z0-9._-]+):(?P<partition>\d+)=(?P<offset>\d+)")


@dataclass(frozen=True, slots=True)
class Target:
    """``earliest``, ``latest``, the first record at or after a time, or stated offsets."""

    kind: Literal["earliest", "latest", "time", "explicit"]
    time_ms: int = 0
    offsets: Mapping[Partition, Offset] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Target:
        """Raises:
        UsageError: none of the four.
        """
        if text == "earliest":
            return cls("earliest")
        if text == "latest":
            return cls("latest")
        if "=" in text:
            return cls("explicit", offsets=_explicit(text))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise UsageError(
                f"--to {text}: not understood",
                hint="earliest, latest, an ISO time as 2026-11-23T08:00:00Z, or "
                "TOPIC:PARTITION=OFFSET, several with commas",
            ) from error
        if moment.tzinfo is None:
            raise UsageError(f"--to {text}: in which time zone?", hint=f"for UTC write {text}Z")
        return cls("time", time_ms=round(moment.astimezone(UTC).timestamp() * 1000))


def _explicit(text: str) -> dict[Partition, Offset]:
    offsets: dict[Partition, Offset] = {}
    for part in text.split(","):
        match = _EXPLICIT.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"--to {part.strip()}: write TOPIC:PARTITION=OFFSET")
        offsets[Partition(match["topic"], int(match["partition"]))] = int(match["offset"])
    return offsets


@dataclass(frozen=True, slots=True)
class Move:
    partition: Partition
    before: Offset | None
    after: Offset


class Groups(Protocol):
    def offsets(
        self, group_id: str, partitions: Collection[Partition]
    ) -> list[PartitionOffsets]: ...
    def at_time(
        self, partitions: Collection[Partition], time_ms: int
    ) -> dict[Partition, Offset]: ...


def planned(
    groups: Groups, group_id: str, partitions: Sequence[Partition], target: Target
) -> list[Move]:
    """What a reset would do.

    Raises:
        UsageError: nothing matches, or an offset lies outside of the log.
    """
    found = {o.partition: o for o in groups.offsets(group_id, partitions)}
    if strange := sorted(set(target.offsets) - set(found)):
        raise UsageError(f"the pipeline does not read {', '.join(map(str, strange))}")
    moves = [
        Move(partition, each.committed, _checked(each, after))
        for partition, after in _wanted(groups, found, target).items()
        if (each := found[partition])
    ]
    if not moves:
        raise UsageError(
            "there is no partition to move", hint="do the topics exist? `callsheet offsets show`"
        )
    return moves


def _wanted(
    groups: Groups, found: Mapping[Partition, PartitionOffsets], target: Target
) -> Mapping[Partition, Offset]:
    begins = {p: o.begin for p, o in found.items() if o.begin is not None}
    ends = {p: o.end for p, o in found.items() if o.end is not None}
    match target.kind:
        case "earliest":
            return begins
        case "latest":
            return ends
        case "time":
            # A time behind the last record has no offset of its own: that is the end.
            return ends | groups.at_time(list(found), target.time_ms)
        case "explicit":
            return target.offsets


def _checked(found: PartitionOffsets, after: Offset) -> Offset:
    if found.begin is not None and found.end is not None and not found.begin <= after <= found.end:
        raise UsageError(
            f"{found.partition}: offset {after} lies outside of the log "
            f"({found.begin} to {found.end})"
        )
    return after


def refuse_gaps(
    moves: Sequence[Move],
    ends: Mapping[Partition, Offset],
    begins: Mapping[Partition, Offset],
    why: str,
) -> None:
    """For a destination that must not leave a record out. ``ends``: where it goes on by itself.

    Raises:
        UsageError: a move would pass over some.
    """
    for move in moves:
        end = ends.get(move.partition, 0)
        # Where it has nothing yet, it begins with what the log still has.
        if move.after > (end or begins.get(move.partition, 0)):
            raise UsageError(
                f"{move.partition}: the destination ends at {end}, and {move.after} would leave a "
                "gap",
                hint=why,
            )


def refuse_if_running(group_id: str, brokers: str, running: Sequence[RunRecord]) -> None:
    """Raises:
    UsageError: one of this machine's workers is of that group, on those brokers.
    """
    for record in running:
        if record.group_id == group_id and record.brokers in {brokers, ""}:
            raise UsageError(
                f"{record.pipeline} runs (process {record.pid})",
                hint=f"stop it first: kill {record.pid}",
            )
