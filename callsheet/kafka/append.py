"""Appends records to topics that others write to: acknowledged by all replicas, each key in the
partition that Java's clients choose for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as ClientMessage

from callsheet.errors import ConfigError, PreconditionError, UnavailableError
from callsheet.kafka.faults import REFUSED
from callsheet.kafka.settings import Connection, producer_config
from callsheet.ports import OutgoingRecord

_Headers = list[tuple[str, str | bytes | None]]
_MAX_MESSAGE_BYTES: Final = 8 << 20
_WAIT_S: Final = 60.0


class TopicAppender:
    """Idempotent. What was acknowledged when it failed stays: say it again from the beginning."""

    def __init__(self, connection: Connection, *, budget_s: float = _WAIT_S) -> None:
        config = producer_config(
            connection, max_message_bytes=_MAX_MESSAGE_BYTES, budget_s=budget_s
        )
        self._budget_s = budget_s
        self._failure: KafkaError | None = None
        try:
            self._producer = Producer({**config, "partitioner": "murmur2_random", "log_level": 0})
        except KafkaException as error:
            raise ConfigError(
                f"the Kafka client does not take its settings: {error.args[0].str()}",
                hint="look at kafka.properties in the pipeline file",
            ) from error

    def append(self, topic: str, records: Iterable[OutgoingRecord]) -> None:
        """In this order; returns when all are acknowledged.

        Raises:
            UnavailableError: not in time.
            PreconditionError: the brokers refuse.
        """
        for key, value, headers in records:
            self._put(topic, key, value, list(headers))
            self._producer.poll(0)
        left = self._producer.flush(self._budget_s)
        failure, self._failure = self._failure, None
        if failure is not None and failure.code() in REFUSED:
            raise PreconditionError(
                f"Kafka refuses records for {topic}: {failure.str()}",
                hint="grant this client Write on the captured topics",
            )
        if failure is not None or left:
            why = failure.str() if failure is not None else "no acknowledgement in time"
            raise UnavailableError(
                f"not all records are in {topic}: {why}",
                hint="run the command again: what is there already changes nothing twice",
            )

    def _put(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: _Headers,
    ) -> None:
        while True:
            try:
                self._producer.produce(
                    topic, value=value, key=key, headers=headers, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(0.1)  # within delivery.timeout.ms something leaves the queue
            except KafkaException as error:
                raise UnavailableError(
                    f"the Kafka client takes no record for {topic}: {error.args[0].str()}",
                    hint="is the broker up (`callsheet stack status`)? Then run the command again: "
                    "what is there already changes nothing twice",
                ) from error
            else:
                return

    def _delivered(self, error: KafkaError | None, _message: ClientMessage) -> None:
        if error is not None and self._failure is None:
            self._failure = error
