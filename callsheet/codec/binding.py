"""What one (topic, schemas) pair is decoded with, and where Avro and JSON differ.

A dialect answers three questions about a message: which schemas does it travel under, what do the
schemas say, and what are its raw values. All else is the same for both formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from callsheet.batch import Message, Skip
from callsheet.codec import avro, json
from callsheet.codec.avro_schema import SchemaError, fields_of, resolve
from callsheet.codec.declared import DeclaredSchema
from callsheet.codec.envelope import Layout, foreign, is_envelope, layout_of
from callsheet.codec.fields import Field
from callsheet.codec.grouping import Signature
from callsheet.codec.plan import JSON_FORMAT, Node, avro_format
from callsheet.codec.schema_registry import RegisteredSchema, Schemas
from callsheet.codec.topics import skip_by_fields
from callsheet.codec.values import Convert, from_avro, from_json
from callsheet.errors import ParkTableError, PoisonRecordError, Reason

UNSUPPORTED: Final = "unsupported_schema"
SCHEMALESS: Final = "schemaless"


class Bodies(NamedTuple):
    """Values and keys of many messages, as bytes."""

    values: list[bytes]
    keys: list[bytes | None]


class RawValues(NamedTuple):
    """A message's value and key as the format's own parser gives them."""

    value: Any
    key: Any


@dataclass(frozen=True, slots=True)
class Shape:
    """What a signature's schemas say, before anybody knows which table it is.

    ``layout`` takes the columns that are declared boolean; ``raw`` reads one message; ``bodies``
    gives the bytes that the native decoder reads, in the ``wire`` format of its plan.
    """

    layout: Callable[[frozenset[str]], Layout]
    raw: Callable[[Message], RawValues]
    bodies: Callable[[Sequence[Message]], Bodies]
    wire: Node | str


class Dialect(Protocol):
    """Avro or JSON."""

    convert: Callable[[Field], Convert]

    def signature(self, message: Message) -> Signature:
        """Raises PoisonRecordError where the message does not say."""
        ...

    def shape(self, topic: str, signature: Any) -> Shape | Skip:
        """Asked once per topic and signature.

        Raises:
            PoisonRecordError: its records cannot be decoded, ever.
            SchemaError, ParkTableError: the topic must wait for a human.
            RetryableError: the registry is away.
        """
        ...


class AvroDialect:
    """Framed Avro, schemas from a registry; a signature is the ids of value and key schema."""

    def __init__(self, schemas: Schemas) -> None:
        self.convert = from_avro
        self._schemas = schemas

    def signature(self, message: Message) -> Signature:
        key = message.key()
        return (
            avro.schema_id(message.value() or b""),
            None if key is None else avro.schema_id(key),
        )

    def shape(self, topic: str, signature: tuple[int, int | None]) -> Shape | Skip:  # noqa: ARG002 - ids need no topic
        value_id, key_id = signature
        value_tree, value_reader = self._parsed(value_id)
        if not is_envelope(value_tree):
            return _skip_or_foreign(value_tree)
        key_tree, key_reader = (None, None) if key_id is None else self._parsed(key_id)
        if key_tree is not None:
            fields_of(key_tree)

        def raw(message: Message) -> RawValues:
            key = message.key()
            return RawValues(
                value_reader.read(message.value() or b""),
                None if key is None or key_reader is None else key_reader.read(key),
            )

        return Shape(
            layout=lambda booleans: layout_of(value_tree, key_tree, booleans),
            raw=raw,
            bodies=_whole_bodies,
            wire=avro_format(value_id, key_id or 0),
        )

    def _parsed(self, identifier: int) -> tuple[Any, avro.AvroReader]:
        found = self._schemas.schema(identifier)
        if found.kind != "AVRO":
            raise PoisonRecordError(
                Reason.FOREIGN, f"schema id {identifier} is {found.kind}, not Avro"
            )
        return _tree_of(found), avro.AvroReader(
            avro.parse_schema(found.text), [avro.parse_schema(text) for text in found.references]
        )


def _whole_bodies(messages: Sequence[Message]) -> Bodies:
    return Bodies(
        [message.value() or b"" for message in messages], [message.key() for message in messages]
    )


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

    def signature(self, message: Message) -> Signature:
        embedded, payload = self._reader.unwrap(message.value() or b"")
        if embedded is None:
            declared = self._declared.get(message.topic())
            if declared is None:
                return JsonSignature(None, None, self._stray(payload))
            if declared.key is not None and message.key() is not None:
                return JsonSignature(None, declared.key)
        return JsonSignature(embedded, self._key_names(message))

    def shape(self, topic: str, signature: JsonSignature) -> Shape | Skip:
        if isinstance(signature.stray, Skip):
            return signature.stray
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
        return Shape(
            layout=lambda booleans: layout_of(tree, signature.key, booleans),
            raw=self._raw,
            bodies=_whole_bodies if signature.embedded is None else self._payloads,
            wire=JSON_FORMAT,
        )

    def _payload(self, message: Message) -> bytes:
        """The value without the schema around it."""
        return self._reader.unwrap(message.value() or b"")[1]

    def _key_payload(self, message: Message) -> bytes | None:
        key = message.key()
        return None if key is None else self._reader.unwrap(key)[1]

    def _payloads(self, messages: Sequence[Message]) -> Bodies:
        return Bodies(
            [self._payload(message) for message in messages],
            [self._key_payload(message) for message in messages],
        )

    def _tree(self, topic: str, signature: JsonSignature) -> Any:
        if signature.embedded is None:
            return self._declared[topic].tree
        return resolve(json.avro_of_connect(self._reader.read(signature.embedded)))

    def _raw(self, message: Message) -> RawValues:
        key = self._key_payload(message)
        return RawValues(
            self._reader.read(self._payload(message)),
            None if key is None else self._reader.read(key),
        )

    def _key_names(self, message: Message) -> tuple[str, ...] | None:
        payload = self._key_payload(message)
        if payload is None:
            return None
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
