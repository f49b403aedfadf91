"""Records of a topic in a file, byte by byte, as far as can be in a form that people can read.

Avro is base64, JSON is text; a schema that every JSON record repeats is written once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.support.envelopes import FakeMessage


class Recordable(Protocol):
    """What of a message is kept; confluent_kafka's and the fake one have it."""

    def value(self) -> bytes | None: ...
    def key(self) -> bytes | None: ...
    def topic(self) -> str | None: ...
    def partition(self) -> int | None: ...
    def offset(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Recording:
    """``schemas`` are the registry's, by id; empty where the wire is JSON."""

    what: str
    messages: Sequence[FakeMessage]
    schemas: Mapping[int, Any] = field(default_factory=dict)


def kept(message: Recordable) -> FakeMessage:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return FakeMessage(message.value(), message.key(), topic, partition, offset)


def load(path: Path) -> Recording:
    raw = json.loads(path.read_text("utf-8"))
    wrappers = raw["embedded"]
    messages = [
        FakeMessage(
            _bytes(record["value"], wrappers.get("value")),
            _bytes(record["key"], wrappers.get("key")),
            raw["topic"], record["partition"], record["offset"],
        )
        for record in raw["records"]
    ]  # fmt: skip
    schemas = {int(identifier): schema for identifier, schema in raw["schemas"].items()}
    return Recording(raw["what"], messages, schemas)


def save(path: Path, recording: Recording) -> None:
    """Raises:
    AssertionError: it could not be read again as it was.
    """
    messages = recording.messages
    (topic,) = {message.topic() for message in messages}
    wrappers = {
        part: wrapper
        for part, values in {
            "key": [message.key() for message in messages],
            "value": [message.value() for message in messages],
        }.items()
        if (wrapper := _wrapper(values)) is not None
    }
    text = json.dumps(
        {
            "what": recording.what,
            "topic": topic,
            "schemas": recording.schemas,
            "embedded": wrappers,
            "records": [
                {
                    "key": _form(message.key(), wrappers.get("key")),
                    "value": _form(message.value(), wrappers.get("value")),
                    "partition": message.partition(),
                    "offset": message.offset(),
                }
                for message in messages
            ],
        },
        indent=1,
        ensure_ascii=False,
    )
    path.write_text(text + "\n", "utf-8")
    again = load(path)
    assert [_parts(each) for each in again.messages] == [_parts(each) for each in messages]


def _parts(message: FakeMessage) -> tuple[Any, ...]:
    return message.value(), message.key(), message.partition(), message.offset()


def _wrapper(values: Sequence[bytes | None]) -> str | None:
    """What stands before every payload, where Connect's JsonConverter embeds one schema."""
    marker = b',"payload":'
    starts = {
        value[: value.index(marker) + len(marker)]
        for value in values
        if value is not None and value.startswith(b'{"schema":') and marker in value
    }
    return starts.pop().decode() if len(starts) == 1 else None


def _form(value: bytes | None, wrapper: str | None) -> Any:
    if value is None:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
    if not text.startswith("{"):
        return {"base64": base64.b64encode(value).decode()}
    if wrapper is not None and text.startswith(wrapper) and text.endswith("}"):
        return {"payload": text[len(wrapper) : -1]}
    return {"json": text}


def _bytes(form: Any, wrapper: str | None) -> bytes | None:
    match form:
        case None:
            return None
        case {"base64": str(text)}:
            return base64.b64decode(text)
        case {"payload": str(text)}:
            return f"{wrapper}{text}}}".encode()
        case {"json": str(text)}:
            return text.encode()
        case _:
            raise AssertionError(f"not a recorded value: {form}")
