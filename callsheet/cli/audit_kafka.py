"""The topics of an audit's pipeline, read whole and outside of its group."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from callsheet.app import connection_of
from callsheet.batch import Message, Partition
from callsheet.cli.audit_check import Place
from callsheet.cli.dlq_workshop import letter_log
from callsheet.config.models import PipelineSettings
from callsheet.errors import UnavailableError
from callsheet.kafka.groups import KafkaGroups, PartitionOffsets
from callsheet.kafka.peek import Peek
from callsheet.ports import Clock

_POLL_EVENTS: Final = 2_000
_SILENCE_S: Final = 30.0


class KafkaTopics:
    """Implements :class:`callsheet.cli.audit_check.Topics`."""

    def __init__(self, settings: PipelineSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._connection = connection_of(settings)
        self._groups = KafkaGroups(self._connection)

    def states(self) -> list[PartitionOffsets]:
        partitions = self._groups.partitions(self._settings.source.subscription())
        return self._groups.offsets(self._settings.group_id, partitions)

    def records(self, partitions: Collection[Partition]) -> Iterator[Sequence[Message]]:
        if not partitions:
            return
        heard_s = self._clock.monotonic()
        with Peek(self._connection, dict.fromkeys(partitions)) as peek:
            while not peek.is_at_end:
                messages = peek.poll(_POLL_EVENTS, 1.0)
                if messages:
                    heard_s = self._clock.monotonic()
                    yield messages
                elif self._clock.monotonic() > heard_s + _SILENCE_S:
                    raise UnavailableError(
                        "Kafka: the topics cannot be read to their ends",
                        hint="is a broker away? `callsheet stack status`",
                    )

    def letters(self) -> set[Place]:
        book = letter_log(self._settings).book()
        return {(each.source, each.source_offset) for each in book.letters.values()}
