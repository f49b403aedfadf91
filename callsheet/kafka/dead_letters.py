"""Dead letters as records of a Kafka topic, with all that a replay needs.

A record too large for that topic is named instead of carried: its letter says where the record is,
and a redrive reads it there, for as long as its own topic keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import cast

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as ClientMessage
from structlog.typing import FilteringBoundLogger

from callsheet.batch import Message
from callsheet.errors import ConfigError, DeadLetterError, Reason
from callsheet.kafka.settings import Connection, producer_config
from callsheet.kafka.topics import Topic
from callsheet.kafka.troubles import ClientTroubles
from callsheet.ports import Clock, Deadline, SystemClock

PREFIX = "callsheet."
"""Of the headers that we add; the record's own headers stand before them."""

LETTER_SEGMENT_HOURS = 24.0
"""A letter outlives its time by no more than that: their topic is quiet, so by Kafka's default it
would be a week, and a deleted row must be remembered for as long.
"""
_DETAIL_BYTES = 4_096
_SAMPLE_BYTES = 4_096
"""What a letter keeps of something that it cannot carry whole."""
_WIRE_BYTES = 1_024
"""More than a record costs beside its key, value and headers, its batch included."""
_HEADER_BYTES = 10
"""Most that one header costs beside its name and its value."""
_HINT = "the record is not committed; mend the dead-letter topic, then start the worker again"


def dead_letter_topic(
    name: str, *, retention_hours: float, max_message_bytes: int, replication_factor: int
) -> Topic:
    """The topic as it must be."""
    config = {
        "cleanup.policy": "delete",
        "retention.ms": str(round(retention_hours * 3_600_000)),
        "segment.ms": str(round(min(retention_hours, LETTER_SEGMENT_HOURS) * 3_600_000)),
        "max.message.bytes": str(max_message_bytes),
    }
    return Topic(name, 1, replication_factor, config)


def letter_headers(
    message: Message, reason: Reason, detail: str, *, pipeline: str, version: str
) -> list[tuple[str, bytes | None]]:
    """The record's own headers, then ours. A letter of a letter counts on."""
    own = list(message.headers() or ())
    kept: list[tuple[str, bytes | None]] = [h for h in own if not h[0].startswith(PREFIX)]
    before = next((value for key, value in own if key == f"{PREFIX}count"), None)
    kind, timestamp_ms = message.timestamp()
    ours = {
        "topic": message.topic(),
        "partition": str(message.partition()),
        "offset": str(message.offset()),
        "timestamp_ms": str(timestamp_ms),
        "timestamp_type": {1: "create", 2: "append"}.get(kind, "none"),
        "reason": reason.value,
        "detail": detail,
        "pipeline": pipeline,
        "version": version,
        "count": str(_count(before) + 1),
    }
    # Cut in bytes: a broker bounds the record, and a character may take four of them.
    return kept + [(f"{PREFIX}{k}", v.encode()[:_DETAIL_BYTES]) for k, v in ours.items()]


@dataclass(frozen=True, slots=True)
class Letter:
    """A record of the dead-letter topic."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    @property
    def size_bytes(self) -> int:
        """On the wire, uncompressed, rounded up."""
        headers = sum(_HEADER_BYTES + len(k.encode()) + len(v or b"") for k, v in self.headers)
        return _WIRE_BYTES + len(self.key or b"") + len(self.value or b"") + headers


def fitted(
    message: Message, headers: Sequence[tuple[str, bytes | None]], most_bytes: int
) -> Letter:
    """The record whole; where ``most_bytes`` does not hold that, the start of its value, and what
    finds the rest: its place and the hash of what was there.

    Never without a value: sent on by mistake, a cut value is poison again, none at all would pass
    for a tombstone. If even so it does not fit, the key is cut and its own headers stay behind.
    """
    whole = Letter(message.key(), message.value(), headers)
    if whole.size_bytes <= most_bytes:
        return whole
    value, key = message.value() or b"", message.key()
    found: list[tuple[str, bytes | None]] = [
        (f"{PREFIX}cut", b"value"),
        (f"{PREFIX}value_bytes", str(len(value)).encode()),
        (f"{PREFIX}value_sha256", sha256(value).hexdigest().encode()),
    ]
    letter = Letter(key, value[:_SAMPLE_BYTES], [*headers, *found])
    if letter.size_bytes <= most_bytes:
        return letter
    found[0] = (f"{PREFIX}cut", b"value, key, headers")
    ours = [(k, v) for k, v in headers if k.startswith(PREFIX)]
    return Letter(key and key[:_SAMPLE_BYTES], value[:_SAMPLE_BYTES], [*ours, *found])


def _count(before: bytes | None) -> int:
    text = (before or b"").decode("ascii", "replace")
    return int(text) if text.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Scribe:
    """Writes a pipeline's letters, however they travel, and tells the log of each."""

    pipeline: str
    version: str
    most_bytes: int
    log: FilteringBoundLogger

    def letter(self, message: Message, reason: Reason, detail: str) -> Letter:
        headers = letter_headers(
            message, reason, detail, pipeline=self.pipeline, version=self.version
        )
        letter = fitted(message, headers, self.most_bytes)
        self.log.warning(
            "dead letter",
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            reason=reason.value,
            is_cut=letter.value != message.value(),
        )
        return letter


class KafkaDeadLetters:
    """Implements :class:`callsheet.ports.DeadLetters`; idempotent, acknowledged by all replicas."""

    def __init__(  # noqa: PLR0913 - what a letter says, and how it travels
        self,
        connection: Connection,
        topic: str,
        *,
        pipeline: str,
        version: str,
        max_message_bytes: int,
        budget_s: float,
        log: FilteringBoundLogger,
        clock: Clock | None = None,
    ) -> None:
        self._topic, self._budget_s = topic, budget_s
        self._scribe = Scribe(pipeline, version, max_message_bytes, log)
        self._failures: list[str] = []
        self._unacknowledged = 0
        troubles = ClientTroubles(log, clock or SystemClock())
        config = producer_config(connection, max_message_bytes=max_message_bytes, budget_s=budget_s)
        try:
            self._producer = Producer({**config, "error_cb": troubles.note, "log_level": 0})
        except KafkaException as error:
            raise ConfigError(
                f"the Kafka client does not take its settings: {error.args[0].str()}",
                hint="look at kafka.properties in the pipeline file",
            ) from error

    def put(self, message: Message, reason: Reason, detail: str) -> None:
        letter = self._scribe.letter(message, reason, detail)
        try:
            self._produce(letter)
        except BufferError:
            # The queue is full: make room once, within the budget, or stop.
            self._producer.flush(self._budget_s)
            self._produce_or_stop(letter)
        self._producer.poll(0)

    def _produce_or_stop(self, letter: Letter) -> None:
        try:
            self._produce(letter)
        except BufferError as error:
            raise self._failed("no acknowledgement in time") from error

    def _produce(self, letter: Letter) -> None:
        try:
            self._producer.produce(
                self._topic,
                value=letter.value,
                key=letter.key,
                headers=list(letter.headers),
                on_delivery=self._delivered,
            )
        except KafkaException as error:
            raise self._failed(error.args[0].str()) from error
        self._unacknowledged += 1

    def _delivered(self, error: KafkaError | None, _message: ClientMessage) -> None:
        self._unacknowledged -= 1
        if error is not None:
            self._failures.append(error.str())

    def flush(self, deadline: Deadline) -> None:
        if self._unacknowledged:
            self._producer.flush(deadline.remaining_s())
        if self._failures:
            raise self._failed(self._failures[0])
        if self._unacknowledged:
            raise self._failed("no acknowledgement in time")

    def _failed(self, why: str) -> DeadLetterError:
        return DeadLetterError(
            f"a dead letter could not be stored in {self._topic}: {why}", hint=_HINT
        )


def original_place(headers: Mapping[str, bytes | None]) -> tuple[str, int, int]:
    """Topic, partition and offset that a letter's headers name: one letter per place, whatever a
    crash between its acknowledgement and the commit repeated.
    """
    topic, partition, offset = (
        cast("bytes", headers[f"{PREFIX}{name}"]).decode()
        for name in ("topic", "partition", "offset")
    )
    return topic, int(partition), int(offset)
