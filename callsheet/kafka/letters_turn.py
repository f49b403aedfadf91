"""One redrive, discard or erase of a pipeline at a time: who holds the group's only partition has
the turn.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from callsheet.errors import FencedError, UnavailableError, UsageError
from callsheet.kafka.clients import refusals_told
from callsheet.kafka.faults import translated
from callsheet.kafka.settings import Connection, Membership, consumer_config

_SESSION_S: Final = 10.0
_PATIENCE_S: Final = 40.0
"""Longer than a group waits for a member that was killed."""
_NAP_S: Final = 0.2


class RedriveTurn:
    """Membership of the group ``<group>.redrive``, which commits nothing. The letters' topic has
    one partition, and cooperative assignment leaves it where it is: who comes later gets none.

    Raises (on entering):
        UsageError: another redrive, discard or erase of the pipeline runs.
        UnavailableError: the group does not answer.
    """

    def __init__(self, connection: Connection, group_id: str, topic: str) -> None:
        self._group_id, self._topic = f"{group_id}.redrive", topic
        membership = Membership(self._group_id, session_timeout_s=_SESSION_S)
        config = {**consumer_config(connection, membership), "log_level": "0"}
        with refusals_told():
            self._client = Consumer(config)
        self._assigned: list[TopicPartition] | None = None
        self._is_lost = False

    def __enter__(self) -> Self:
        try:
            self._client.subscribe(
                [self._topic],
                on_assign=self._assign,
                on_revoke=self._lose,
                on_lost=self._lose,
            )
            self._wait()
        except BaseException:
            self._client.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def keep(self) -> None:
        """Call it often, at least every few minutes.

        Raises:
            FencedError: somebody else may have the turn by now.
        """
        self._poll(0)
        if self._is_lost:
            raise FencedError(
                f"{self._group_id} has gone on without us",
                hint="run the command again: what it had done is noted",
            )

    def _wait(self) -> None:
        for _ in range(round(_PATIENCE_S / _NAP_S)):
            self._poll(_NAP_S)
            if self._assigned:
                return
            if self._assigned is not None:
                raise UsageError(
                    "another redrive, discard or erase of this pipeline is running",
                    hint="wait for it; one that was killed counts for ten seconds more",
                )
        raise UnavailableError(
            f"the group {self._group_id} does not answer",
            hint="is Kafka up? `callsheet stack status`",
        )

    def _poll(self, timeout_s: float) -> None:
        """The partition is paused, so only the group's news come."""
        try:
            message = self._client.poll(timeout_s)
        except KafkaException as error:
            raise translated(error.args[0], "holding the redrive's turn") from error
        fault = message.error() if message is not None else None
        if fault is not None and not fault.retriable():
            raise translated(fault, "holding the redrive's turn")

    def _assign(self, client: Consumer, found: list[TopicPartition]) -> None:
        # At the end, where nothing can be missing: retention takes what was there in the beginning.
        starts = [TopicPartition(p.topic, p.partition, OFFSET_END) for p in found]
        client.incremental_assign(starts)
        if starts:
            client.pause(starts)
        self._assigned = [*(self._assigned or []), *starts]

    def _lose(self, client: Consumer, found: list[TopicPartition]) -> None:
        client.incremental_unassign(found)
        self._is_lost = self._is_lost or bool(found)
