"""What one (topic, schemas) pair is decoded with, and where Avro and JSON differ.

A dialect answers three questions about a message: which schemas does it travel under, what do the
schemas say, and what are its raw values. All else is the same for both formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from callsheet.batch import Skip
from callsheet.codec import avro, json
from callsheet.codec.avro_schema import SchemaError, fields_of, resolve
from callsheet.codec.blame import MAX_EMBEDDED_BYTES, blamed, check_key, claims_envelope
from callsheet.codec.declared import DeclaredSchema
from callsheet.codec.envelope import foreign
from callsheet.codec.fields import Field
from callsheet.codec.grouping import Records, Signature
from callsheet.codec.layout import Layout, is_envelope, layout_of
from callsheet.codec.plan import JSON_FORMAT, Node, avro_format
from callsheet.codec.schema_registry import RegisteredSchema, Schemas
from callsheet.codec.topics import skip_by_fields
from callsheet.codec.values import Convert, from_avro, from_json
from callsheet.errors import ParkTableError, PoisonRecordError, Reason

UNSUPPORTED: Final = "unsupported_schema"
SCHEMALESS: Final = "schemaless"


class Bodies(NamedTuple):
    """Values and keys of many records, as bytes."""

    values: list[bytes]
    keys: list[bytes | None]


class RawValues(NamedTuple):
    """A record's value and key as the format's own parser gives them."""

    value: Any
    key: Any


@dataclass(frozen=True, slots=True)
class Shape:
    """What a signature's schemas say, before anybody knows which table it is.

    ``layout`` takes the columns that are declared boolean; ``raw`` reads one record; ``bodies``
    gives the bytes that the native decoder reads, in the ``wire`` format of its plan.
    """

    layout: Callable[[frozenset[str]], Layout]
    raw: Callable[[bytes, bytes | None], RawValues]
    bodies: Callable[[Records], Bodies]
    wire: Node | str


class Dialect(Protocol):
    """Avro or JSON."""

    @property
    def convert(self) -> Callable[[Field], Convert]: ...

    def signature(self, topic: str, value: bytes, key: bytes | None) -> Signature:
        """Under which schemas a record travels.

        Raises:
            PoisonRecordError: it does not say.
        """
        ...

    def common_signature(self, topic: str, records: Records) -> Signature | None:
        """The signature of all these records, where they can be told cheaply to share one."""
        ...

    def shape(self, topic: str, signature: Any) -> Shape | Skip:
        """Asked once per topic and signature.

        Raises:
            PoisonRecordError: its records cannot be decoded, ever; others of the topic can.
            SchemaError, ParkTableError: the topic must wait for a human.
            RetryableError: the registry is away.
        """
        ...

    def lookups(self) -> AbstractContextManager[None]:
        """Around all calls of one poll: what others are asked meanwhile has one deadline."""
        ...


class AvroDialect:
    """Framed Avro, schemas from a registry; a signature is the ids of value and key schema."""

    def __init__(self, schemas: Schemas) -> None:
        self.convert = from_avro
        self._schemas = schemas

    def signature(self, topic: str, value: bytes, key: bytes | None) -> Signature:  # noqa: ARG002 - frames need no topic
        return avro.schema_id(value), None if key is None else avro.schema_id(key)

    def common_signature(self, topic: str, records: Records) -> Signature | None:
        frame = avro.FRAME_BYTES
        if None in records.keys or len({value[:frame] for value in records.values}) > 1:
            return None
        if len({key[:frame] for key in records.keys if key is not None}) > 1:
            return None
        try:
            return self.signature(topic, records.values[0], records.keys[0])
        except PoisonRecordError:
            return None  # each record is told on its own

    def shape(self, topic: str, signature: tuple[int, int | None]) -> Shape | Skip:  # noqa: ARG002 - ids need no topic
        value_id, key_id = signature
        value_tree, value_reader = self._value(value_id)
        if not is_envelope(value_tree):
            return _skip_or_foreign(value_tree)
        key_tree, key_reader = (None, None) if key_id is None else self._key(key_id, value_tree)

        def raw(value: bytes, key: bytes | None) -> RawValues:
            return RawValues(
                value_reader.read(value),
                None if key is None or key_reader is None else key_reader.read(key),
            )

        return Shape(
            layout=lambda booleans: layout_of(value_tree, key_tree, booleans),
            raw=raw,
            bodies=_whole_bodies,
            wire=avro_format(value_id, key_id or 0),
        )

    def lookups(self) -> AbstractContextManager[None]:
        return self._schemas.lookups()

    def _value(self, identifier: int) -> tuple[Any, avro.AvroReader]:
        found = self._found(identifier)
        with blamed(lambda: claims_envelope(avro.parse_schema(found.text))):
            return _parsed(found)

    def _key(self, identifier: int, value_tree: Any) -> tuple[Any, avro.AvroReader]:
        found = self._found(identifier)
        try:
            tree, reader = _parsed(found)
            names = tuple(fields_of(tree))
        except (SchemaError, RecursionError, AttributeError) as fault:
            raise PoisonRecordError(
                Reason.MISSING_KEY, f"schema id {identifier}, of its key, names no columns"
            ) from fault
        check_key(names, value_tree)
        return tree, reader

    def _found(self, identifier: int) -> RegisteredSchema:
        found = self._schemas.schema(identifier)
        if found.kind != "AVRO":
            raise PoisonRecordError(
                Reason.FOREIGN, f"schema id {identifier} is {found.kind}, not Avro"
            )
        return found


def _parsed(found: RegisteredSchema) -> tuple[Any, avro.AvroReader]:
    return _tree_of(found), avro.AvroReader(
        avro.parse_schema(found.text), [avro.parse_schema(text) for text in found.references]
    )


def _whole_bodies(records: Records) -> Bodies:
    return Bodies(records.values, records.keys)


def _tree_of(found: RegisteredSchema) -> Any:
    names: dict[str, Mapping[str, Any]] = {}
    for reference in found.references:
        resolve(avro.parse_schema(reference), names)
    return resolve(avro.parse_schema(found.text), names)


def _skip_or_foreign(tree: Any) -> Skip:
    if isinstance(tree, Mapping) and tree.get("type") == "record":
        skip = skip_by_fields(tuple(fields_of(tree)))
        if skip is not None:
            return skip
    raise foreign("its schema is no change envelope")


class JsonSignature(NamedTuple):
    """The embedded schema's text, if any, and the names of the key's columns.

    ``stray`` is set instead for a record that has no schema at all: what its fields make of it.
    """

    embedded: bytes | None
    key: tuple[str, ...] | None
    stray: Skip | str | None = None


class JsonDialect:
    """JSON with its schema embedded, or declared in ``cdc-config/schemas/``."""

    def __init__(self, declared: Mapping[str, DeclaredSchema]) -> None:
        self.convert = from_json
        self._declared = declared
        self._reader = json.JsonReader()
        self._bring_schemas: set[str] = set()
        """Topics whose records have been seen to embed their table's schema."""

    def signature(self, topic: str, value: bytes, key: bytes | None) -> Signature:
        embedded, payload = self._reader.unwrap(value)
        if embedded is None:
            declared = self._declared.get(topic)
            if declared is None:
                return JsonSignature(None, None, self._stray(payload))
            if declared.key is not None and key is not None:
                return JsonSignature(None, declared.key)
        elif len(embedded) > MAX_EMBEDDED_BYTES:
            raise PoisonRecordError(Reason.OVERSIZE, f"a schema of {len(embedded)} bytes in it")
        return JsonSignature(embedded, self._key_names(key))

    def common_signature(self, topic: str, records: Records) -> Signature | None:
        declared = self._declared.get(topic)
        if declared is None or declared.key is None or None in records.keys:
            return None
        size = len(json.WRAPPED_PREFIX)
        if json.WRAPPED_PREFIX in {value[:size] for value in records.values}:
            return None
        return JsonSignature(None, declared.key)

    def shape(self, topic: str, signature: JsonSignature) -> Shape | Skip:
        if isinstance(signature.stray, Skip):
            return signature.stray
        if signature.stray is not None and topic in self._bring_schemas:
            raise PoisonRecordError(Reason.SCHEMALESS, "the topic's other records embed a schema")
        if signature.stray is not None:
            raise ParkTableError(
                topic,
                SCHEMALESS,
                "its JSON carries no schema, and none is declared",
                hint=f"declare it in cdc-config/schemas/{topic}{'.avsc'}",
            )
        tree = self._tree(topic, signature)
        if not is_envelope(tree):
            return _skip_or_foreign(tree)
        if signature.key is not None:
            check_key(signature.key, tree)
        if signature.embedded is not None:
            self._bring_schemas.add(topic)
        return Shape(
            layout=lambda booleans: layout_of(tree, signature.key, booleans),
            raw=self._raw,
            bodies=_whole_bodies if signature.embedded is None else self._payloads,
            wire=JSON_FORMAT,
        )

    def _payloads(self, records: Records) -> Bodies:
        return Bodies(
            [self._reader.unwrap(value)[1] for value in records.values],
            [None if key is None else self._reader.unwrap(key)[1] for key in records.keys],
        )

    def _tree(self, topic: str, signature: JsonSignature) -> Any:
        if signature.embedded is None:
            return self._declared[topic].tree
        schema = self._reader.read(signature.embedded)
        with blamed(lambda: claims_envelope(schema)):
            return resolve(json.avro_of_connect(schema))

    def lookups(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _raw(self, value: bytes, key: bytes | None) -> RawValues:
        return RawValues(
            self._reader.read(self._reader.unwrap(value)[1]),
            None if key is None else self._reader.read(self._reader.unwrap(key)[1]),
        )

    def _key_names(self, raw: bytes | None) -> tuple[str, ...] | None:
        if raw is None:
            return None
        payload = self._reader.unwrap(raw)[1]
        key = self._reader.read(payload)
        if key is None:
            return None
        if not isinstance(key, dict):
            raise PoisonRecordError(Reason.MISSING_KEY, "the key is no JSON object")
        return tuple(key)

    def _stray(self, payload: bytes) -> Skip | str:
        """What an unwrapped value of a topic without declared schema is."""
        value = self._reader.read(payload)
        if not isinstance(value, dict):
            raise foreign("the value is no JSON object")
        if {"op", "source"} <= value.keys():
            return SCHEMALESS
        skip = skip_by_fields(tuple(value))
        if skip is None:
            raise foreign("the value is no change envelope")
        return skip


__all__ = ["AvroDialect", "Dialect", "JsonDialect", "RawValues", "SchemaError", "Shape"]
