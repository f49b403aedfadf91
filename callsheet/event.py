"""The event contract in code; ``docs/event-contract.md`` says the same in prose.

An event is one change of one row: UUID, TYPE, ID, TS, position, the images before and after,
origin. Events travel through the worker as columns (:mod:`callsheet.batch`); an :class:`Event`
object exists only where somebody looks at a single row: dead letters, handlers, tests, the oracle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

from callsheet.errors import FatalError, PoisonRecordError, Reason


class Op(StrEnum):
    """TYPE: decides the write. The values are Debezium's letters."""

    CREATE = "c"
    READ = "r"
    """The row as a snapshot found it."""
    UPDATE = "u"
    DELETE = "d"


SWEEP: Final = "callsheet-sweep"
"""What the transaction ids of deletes begin with that a sweep wrote: many stand at one place."""
OFFSET_BITS: Final = 32
MAX_FILE_ORDINAL: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where in the source a change stands; totally ordered within one source.

    ``epoch`` is the base that is added to the binlog file's ordinal: a replaced source, whose
    binlog starts again at 1, gets a higher one. ``row`` counts the rows of one binlog event.
    """

    epoch: int
    file_ordinal: int
    pos: int
    row: int = 0

    @property
    def version(self) -> int:
        """A positive 63-bit integer in the same order as the positions themselves.

        Each row takes at least a byte of its binlog event, so ``pos + row`` stays below the next
        event's ``pos``: the sum is strictly monotonic.

        Raises:
            FatalError: the position does not fit. Going on would let old writes win.
        """
        ordinal, offset = self.epoch + self.file_ordinal, self.pos + self.row
        if not 0 < ordinal <= MAX_FILE_ORDINAL or not 0 <= offset < 1 << OFFSET_BITS:
            raise FatalError(
                f"binlog position (file {ordinal}, offset {offset}) does not fit a 63-bit version",
                hint="split larger transactions, or start a new epoch (docs/operations.md)",
            )
        return (ordinal << OFFSET_BITS) | offset


_BINLOG_FILE = re.compile(r"^.+\.(\d+)$")


def file_ordinal(file: str) -> int:
    """The number at the end of a binlog file's name: ``binlog.000042`` is 42.

    Raises:
        PoisonRecordError: FOREIGN, the name has no such number.
    """
    match = _BINLOG_FILE.match(file)
    if match is None:
        raise PoisonRecordError(Reason.FOREIGN, f"{file!r} is no binlog file name")
    return int(match[1])


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an event came from: connector, table, transaction, and its place in Kafka."""

    source: str
    database: str
    table: str
    topic: str
    partition: int
    offset: int
    server_id: int = 0
    gtid: str | None = None
    file: str = ""
    snapshot: bool = False
    transaction_id: str | None = None
    transaction_order: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one row. Images map column names to the Python values of the batch types."""

    uuid: UUID
    op: Op
    id: str
    ts_us: int
    """Commit time at the source, microseconds since the epoch, UTC."""
    position: Position
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    origin: Origin


# --- ID -----------------------------------------------------------------------------------------
# Canonical and reversible: the key columns' texts in key order, joined by "|". In each text "%",
# "|" and control characters are percent-encoded; an empty text is written "%-". So ("a|b", "c") and
# ("a", "b|c") differ, no ID is empty, and a simple integer key reads as itself.

_ESCAPED: Final = re.compile(r"[%|\x00-\x1f\x7f]")
_EMPTY: Final = "%-"


def id_part(value: object) -> str:  # noqa: PLR0911 - one return per type is the clearest table
    """The canonical text of one key column's value.

    Integers in decimal, decimals in plain notation with their scale, dates and datetimes in
    ISO-8601 (a datetime with six digits of fraction), booleans ``true``/``false``, bytes as
    lower-case hex, strings as they are.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.isoformat(timespec="microseconds")
        case date():
            return value.isoformat()
        case bytes():
            return value.hex()
        case str():
            return value
        case None:
            raise PoisonRecordError(Reason.MISSING_KEY, "a key column is null")
        case _:
            raise PoisonRecordError(
                Reason.UNREPRESENTABLE, f"a {type(value).__name__} cannot be part of an ID"
            )


def encode_id(parts: Sequence[str]) -> str:
    """One ID from the canonical texts of all key columns, in key order."""
    return "|".join(
        _ESCAPED.sub(lambda m: f"%{ord(m[0]):02X}", part) if part else _EMPTY for part in parts
    )


def decode_id(identifier: str) -> tuple[str, ...]:
    """The key columns' texts again: ``decode_id(encode_id(parts)) == tuple(parts)``.

    Raises:
        ValueError: not an ID that :func:`encode_id` made.
    """
    return tuple(_decode_part(part) for part in identifier.split("|"))


def _decode_part(part: str) -> str:
    if part == _EMPTY:
        return ""
    if not part or re.search(r"%(?![0-9A-F]{2})", part):
        raise ValueError(f"not an ID: {part!r}")
    return re.sub(r"%([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), part)


# --- UUID ---------------------------------------------------------------------------------------


def stream_identity(  # noqa: PLR0913 - these six are what makes a streamed change unique
    source: str, gtid: str | None, file: str, pos: int, *, row: int, op: str
) -> str:
    """Identity of a streamed change. Without ``op`` it is not unique: a primary-key UPDATE gives a
    delete and a create with the same three. A GTID outlives a failover, a file name does not.
    """
    return f"s\x00{source}\x00{gtid or file}\x00{pos}\x00{row}\x00{op}"


def snapshot_identity(topic: str, identifier: str, file: str, pos: int) -> str:
    """Identity of a snapshot row: it has no GTID, and all rows share one position."""
    return f"r\x00{topic}\x00{identifier}\x00{file}\x00{pos}"


def event_uuid(identity: str) -> UUID:
    """UUIDv8 (RFC 9562, 5.8) over a 128-bit BLAKE2b of the identity: a repeat has the same UUID."""
    digest = int.from_bytes(blake2b(identity.encode(), digest_size=16).digest())
    digest &= ~((0xF << 76) | (0x3 << 62))
    return UUID(int=digest | (0x8 << 76) | (0x2 << 62))
