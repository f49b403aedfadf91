"""Debezium's change envelope, and the careful reading of one.

The rules are stated here once and hold for every path:

- ``op`` c, r, u need ``after``; d may have ``before``; t is a truncation; anything else is foreign.
- The ID comes from the key columns of ``after`` (of ``before`` for d). The message's key must name
  the same ID; a record without key, or with a null in it, has none. A delete without ``before``
  (:mod:`callsheet.sweep` writes such) has the ID that its key names.
- ``ts_us`` is the source's; an older source that knows milliseconds only gives those times 1000.
- A snapshot row is one whose ``source.snapshot`` is neither ``false`` nor null.
- Connector, logical name, database and table are the same in all records of one schema of a topic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from callsheet.codec.fields import Field
from callsheet.codec.layout import Identity, Layout
from callsheet.codec.values import Convert, mismatch
from callsheet.errors import PoisonRecordError, Reason
from callsheet.event import Op, Position, encode_id, file_ordinal, id_part

TRUNCATE: Final = "t"
SNAPSHOT_MARKS: Final = frozenset(
    {"true", "first", "first_in_data_collection", "last_in_data_collection", "last", "incremental"}
)
CONNECTORS: Final = frozenset({"mysql", "mariadb"})
_OPS: Final = {op.value: op for op in Op}


def foreign(detail: str) -> PoisonRecordError:
    return PoisonRecordError(Reason.FOREIGN, detail)


@dataclass(frozen=True, slots=True)
class Change:
    """One decoded record: the frame's columns but for its place in Kafka, and the images."""

    identity: Identity
    columns: Mapping[str, Any]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Truncated:
    identity: Identity
    version: int


class EnvelopeReader:
    """Reads one raw envelope (as fastavro or the JSON parser gave it) by its layout."""

    def __init__(
        self,
        layout: Layout,
        convert: Callable[[Field], Convert],
        epoch_of: Callable[[str], int],
    ) -> None:
        self._columns = tuple((field, convert(field)) for field in layout.fields)
        self._names = frozenset(field.column.name for field in layout.fields)
        self._key = tuple((field, convert(field)) for field in layout.key)
        self._key_names = tuple(field.column.name for field in layout.key)
        self._epoch_of = epoch_of

    def read(self, raw: Any, key: Any) -> Change | Truncated:
        """The change. ``key`` is the raw key, None where the message has none.

        Raises:
            PoisonRecordError: it is no change event, or a value does not fit.
            FatalError: the position does not fit a version.
        """
        envelope = _record(raw, "the value")
        source = _record(envelope.get("source"), "its source")
        identity, op = _identity(source), _text(envelope, "op")
        position = self._position(source, identity)
        if op == TRUNCATE:
            return Truncated(identity, position.version)
        if op not in _OPS:
            raise foreign("the operation is none of c, r, u, d, t")
        before = self._image(envelope.get("before"))
        after = self._image(envelope.get("after"))
        image = before if op == Op.DELETE else after
        if image is None and op != Op.DELETE:
            raise foreign(f"the operation {op} without its image of the row")
        return Change(
            identity,
            {"op": op, "id": self._id(image, key)}
            | _source_columns(source, position)
            | _transaction(envelope.get("transaction")),
            before,
            after,
        )

    def _position(self, source: Mapping[str, Any], identity: Identity) -> Position:
        return Position(
            epoch=self._epoch_of(identity.source),
            file_ordinal=file_ordinal(_text(source, "file")),
            pos=_whole(source, "pos"),
            row=_whole(source, "row"),
        )

    def _image(self, raw: Any) -> dict[str, Any] | None:
        if raw is None:
            return None
        image = _record(raw, "an image of the row", Reason.SCHEMA_MISMATCH)
        if not image.keys() <= self._names:
            unknown = min(image.keys() - self._names)
            raise mismatch(f"the column {unknown} is not in the schema")
        return {
            field.column.name: _value(field, convert, image.get(field.column.name))
            for field, convert in self._columns
        }

    def _id(self, image: Mapping[str, Any] | None, raw: Any) -> str:
        if raw is None:
            raise PoisonRecordError(Reason.MISSING_KEY, "the message has no key")
        key = _record(raw, "the key", Reason.KEY_MISMATCH)
        if tuple(key) != self._key_names:
            raise PoisonRecordError(Reason.KEY_MISMATCH, "the key has other columns than declared")
        named = encode_id(
            [
                id_part(_value(field, convert, key[field.column.name]))
                for field, convert in self._key
            ]
        )
        if image is None:
            return named
        identifier = encode_id([id_part(image[name]) for name in self._key_names])
        if named != identifier:
            raise PoisonRecordError(
                Reason.KEY_MISMATCH, "the message's key and the row name different IDs"
            )
        return identifier


def _value(field: Field, convert: Convert, raw: Any) -> Any:
    if raw is None:
        if field.null_branch is None:
            raise mismatch(f"column {field.column.name}: null or absent, but declared NOT NULL")
        return None
    try:
        return convert(raw)
    except PoisonRecordError as fault:
        raise PoisonRecordError(
            fault.reason, f"column {field.column.name}: {fault.detail}"
        ) from fault


def identity_of(raw: Any) -> Identity:
    """Which table a raw envelope belongs to.

    Raises:
        PoisonRecordError: FOREIGN, it does not say, or it is not of MySQL.
    """
    return _identity(_record(_record(raw, "the value").get("source"), "its source"))


def _identity(source: Mapping[str, Any]) -> Identity:
    connector = _text(source, "connector")
    if connector not in CONNECTORS:
        raise foreign("it comes from a connector other than MySQL's")
    return Identity(connector, _text(source, "name"), _text(source, "db"), _text(source, "table"))


def _source_columns(source: Mapping[str, Any], position: Position) -> dict[str, Any]:
    mark = _optional_text(source, "snapshot")
    if mark not in {None, "false"} and mark not in SNAPSHOT_MARKS:
        raise foreign("an unknown snapshot mark")
    return {
        "ts_us": _commit_time_us(source),
        "version": position.version,
        "snapshot": mark in SNAPSHOT_MARKS,
        "gtid": _optional_text(source, "gtid"),
        "file": _text(source, "file"),
        "pos": position.pos,
        "row": position.row,
        "server_id": _optional_whole(source, "server_id"),
    }


def _commit_time_us(source: Mapping[str, Any]) -> int:
    micros = _optional_whole(source, "ts_us")
    if micros is None:
        micros = _whole(source, "ts_ms") * 1000
        if not -(1 << 63) <= micros < 1 << 63:
            raise foreign("its ts_ms does not fit 64 bits of microseconds")
    return micros


def _transaction(raw: Any) -> dict[str, Any]:
    if raw is None:
        return {"transaction_id": None, "transaction_order": None}
    block = _record(raw, "its transaction")
    return {
        "transaction_id": _text(block, "id"),
        "transaction_order": _whole(block, "total_order"),
    }


def _record(raw: Any, what: str, reason: Reason = Reason.FOREIGN) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise PoisonRecordError(reason, f"{what} is no record")
    return raw


def _optional_text(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is not None and type(value) is not str:
        raise foreign(f"its {name} is no text")
    return value


def _text(record: Mapping[str, Any], name: str) -> str:
    value = _optional_text(record, name)
    if value is None:
        raise foreign(f"it has no {name}")
    return value


def _optional_whole(record: Mapping[str, Any], name: str) -> int | None:
    value = record.get(name)
    if value is not None and (type(value) is not int or not -(1 << 63) <= value < 1 << 63):
        raise foreign(f"its {name} is no 64-bit integer")
    return value


def _whole(record: Mapping[str, Any], name: str) -> int:
    value = _optional_whole(record, name)
    if value is None:
        raise foreign(f"it has no {name}")
    return value
