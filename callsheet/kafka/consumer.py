"""A member of a consumer group on real brokers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from random import Random
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import (
    Message as ClientMessage,
)
from structlog.typing import FilteringBoundLogger

from callsheet.backoff import Backoff, Outage
from callsheet.batch import Message, Offset, Partition
from callsheet.errors import ConfigError, FatalError, FencedError, RetryableError
from callsheet.kafka.faults import is_refusal, translated
from callsheet.kafka.places import as_client_partitions, partition_of, partitions_of, placed
from callsheet.kafka.settings import Connection, Membership, consumer_config
from callsheet.kafka.troubles import ClientTroubles
from callsheet.ports import Clock, Deadline, RebalanceListener, SystemClock

_CHUNK_EVENTS = 1_000
_COMMITTED_TIMEOUT_S = 5.0
"""Of one try; the loop stands still meanwhile."""
_CLOSE_TIMEOUT_S = 10.0
_LET_GO_S = 10.0
_NAP_S = 0.05
_error_of = ClientMessage.error


class GroupConsumer:
    """Implements :class:`callsheet.ports.Consumer`.

    A partition without a committed offset is read from its beginning. One whose committed offset
    is gone from the log stops the worker: the records between are lost to us, and only a human can
    say what to do about it.
    """

    def __init__(
        self,
        connection: Connection,
        membership: Membership,
        log: FilteringBoundLogger,
        clock: Clock | None = None,
    ) -> None:
        self._log, self._poll_bytes = log, membership.poll_bytes
        self._refusal: KafkaError | None = None
        self._ends: dict[Partition, Offset] = {}
        self._paused_in_callback: list[TopicPartition] | None = None
        self._is_subscribed = self._is_closing = False
        self._answers: deque[tuple[KafkaError | None, list[TopicPartition]]] = deque()
        self._unanswered = self._stale = 0
        self._clock = clock = clock or SystemClock()
        self._troubles = ClientTroubles(log, clock)
        self._listener: RebalanceListener | None = None
        self._unplaced: list[TopicPartition] = []
        """Given to us by the group, and not taken up yet: nobody knows where to start."""
        self._unknown = Outage(clock, Backoff(cap_s=5.0), Random())  # noqa: S311 - jitter
        config: dict[str, object] = {**consumer_config(connection, membership)}
        try:
            self._client = Consumer(
                {**config, "error_cb": self._note, "on_commit": self._hear, "log_level": 0}
            )
        except KafkaException as error:
            raise _config_error(error) from error
        self._outsider = self._client.consumer_group_metadata()

    # --- the group ------------------------------------------------------------------------------

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        if self._is_subscribed:
            self._let_go()
        self._is_subscribed = True
        self._client.subscribe(
            list(topics),
            on_assign=partial(self._assign, listener),
            on_revoke=partial(self._revoke, listener),
            on_lost=partial(self._lose, listener),
        )

    def _let_go(self) -> None:
        """Unsubscribe, and wait until the client has given up what it had.

        A rebalance that is under way keeps it from that for a moment. Subscribed to in that moment,
        the same partitions would be ours again without a change, so without a word to the listener:
        read, and thrown away as nobody's.
        """
        self._client.unsubscribe()
        deadline = Deadline.after(self._clock, _LET_GO_S)
        while self._client.assignment():
            if deadline.expired():
                raise FatalError(
                    "Kafka's client does not let go of its partitions",
                    hint="nothing is lost: the worker starts again from what is committed",
                )
            self._client.consume(1, _NAP_S)  # its callbacks; what it reads will be read again

    def _assign(
        self, listener: RebalanceListener, client: Consumer, found: list[TopicPartition]
    ) -> None:
        if self._is_closing:
            return  # an assignment that comes too late is nobody's
        self._listener = listener
        self._unplaced += found
        if not self._take_up(listener):
            client.incremental_assign([])  # else the client would take them up, at any offset

    def _take_up(self, listener: RebalanceListener) -> bool:
        """The partitions that wait become ours, if group and sink say where to start.

        When the coordinator is away, or the sink's store, they go on waiting, and polls try again
        at the back-off: the partitions that we have already are served meanwhile, and the process
        needs no restart.
        """
        # Pausing takes effect only on what is assigned, so it waits until that is done below.
        self._paused_in_callback = []
        try:
            committed = self._committed(self._unplaced)
            starts = listener.on_assigned(partitions_of(committed))
            self._unplaced = []
            self._client.incremental_assign([placed(tp, starts) for tp in committed])
            # The client remembers that it was paused when we had it last; nobody else does.
            self._client.resume(committed)
            if self._paused_in_callback:
                self._client.pause(self._paused_in_callback)
        except RetryableError as error:
            self._log.warning(
                "assignment waits", cause=error.message, partitions=len(self._unplaced)
            )
            self._unknown.failed(error)
            return False
        finally:
            self._paused_in_callback = None
        self._unknown.over()
        return True

    def _committed(self, found: list[TopicPartition]) -> list[TopicPartition]:
        if not found:
            return []
        doing = "reading committed offsets"
        try:
            committed = self._client.committed(found, timeout=_COMMITTED_TIMEOUT_S)
        except KafkaException as error:
            raise translated(error.args[0], doing) from error
        for tp in committed:
            if tp.error is not None:
                raise translated(tp.error, f"{doing} of {partition_of(tp)}")
        return committed

    def _revoke(
        self, listener: RebalanceListener, client: Consumer, found: list[TopicPartition]
    ) -> None:
        found = self._taken_up(found)
        listener.on_revoked(partitions_of(found))
        client.incremental_unassign(found)

    def _lose(
        self, listener: RebalanceListener, client: Consumer, found: list[TopicPartition]
    ) -> None:
        # Answers to what the lost membership asked say nothing about the next one.
        self._stale, self._unanswered = self._stale + self._unanswered, 0
        self._answers.clear()
        found = self._taken_up(found)
        listener.on_lost(partitions_of(found))
        client.incremental_unassign(found)

    def _taken_up(self, leaving: list[TopicPartition]) -> list[TopicPartition]:
        """Those of the leaving that we have; the others wait no longer."""
        waiting, gone = set(partitions_of(self._unplaced)), set(partitions_of(leaving))
        self._unplaced = [tp for tp in self._unplaced if partition_of(tp) not in gone]
        return [tp for tp in leaving if partition_of(tp) not in waiting]

    def assignment(self) -> frozenset[Partition]:
        return frozenset(map(partition_of, self._client.assignment()))

    @property
    def waiting(self) -> frozenset[Partition]:
        """Ours, but that nobody could say yet where to start."""
        return frozenset(partitions_of(self._unplaced))

    # --- reading --------------------------------------------------------------------------------

    def poll(self, max_events: int, timeout_s: float) -> Sequence[Message]:
        """The first record is waited for, the rest is what librdkafka has already: ``consume(n)``
        itself would sit out the timeout whenever fewer than ``n`` are there.
        """
        self._ends = {}
        if self._refusal is not None:
            raise translated(self._refusal, "reading from Kafka")
        if self._unplaced and self._listener is not None and not self._unknown.wait_s():
            self._take_up(self._listener)
        messages = self._client.consume(1, timeout_s)
        size = 0
        while messages and len(messages) < max_events and size < self._poll_bytes:
            more = self._client.consume(min(_CHUNK_EVENTS, max_events - len(messages)), 0)
            if not more:
                break
            messages += more
            size += sum(map(len, more))
        if any(map(_error_of, messages)):
            messages = self._without_errors(messages)
        return cast("Sequence[Message]", messages)

    def _without_errors(self, messages: list[ClientMessage]) -> list[ClientMessage]:
        records = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(message)
            else:
                self._heed(error, message)
        return records

    def _heed(self, error: KafkaError, message: ClientMessage) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka spells it so
            self._ends[partition_of(message)] = cast("int", message.offset())
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001
            raise FatalError(
                f"the log of {message.topic()}[{message.partition()}] no longer has the records "
                f"that come next: {error.str()}",
                hint="changes are missing: rebuild the destination from a new snapshot, then "
                "`callsheet offsets reset PIPELINE --to earliest`",
            )
        elif code == KafkaError._MAX_POLL_EXCEEDED:  # noqa: SLF001
            # The lost callback follows with the next poll; nothing is to be done before.
            self._log.warning("max.poll.interval.ms exceeded", cause=error.str())
        else:
            trouble = translated(error, "reading from Kafka")
            if not isinstance(trouble, RetryableError):
                raise trouble
            self._troubles.note(error)

    def ends(self) -> Mapping[Partition, Offset]:
        return self._ends

    def _note(self, error: KafkaError) -> None:
        """Called by librdkafka for what belongs to no record; it heals most of it by itself."""
        if is_refusal(error) or error.fatal():
            self._refusal = error
        self._troubles.note(error)

    def pause(self, partitions: Collection[Partition]) -> None:
        found = as_client_partitions(partitions)
        if self._paused_in_callback is not None:
            self._paused_in_callback += found
        elif found:
            self._client.pause(found)

    def resume(self, partitions: Collection[Partition]) -> None:
        if partitions:
            self._client.resume(as_client_partitions(partitions))

    def seek(self, partition: Partition, offset: Offset) -> None:
        try:
            self._client.seek(TopicPartition(partition.topic, partition.number, offset))
        except KafkaException as error:
            raise translated(error.args[0], f"seeking in {partition}") from error

    # --- committing -----------------------------------------------------------------------------

    def commit(self, offsets: Mapping[Partition, Offset]) -> None:
        """Asynchronous, because the client's synchronous commit has no timeout: it was seen to
        block for minutes on a broker that hangs. librdkafka sends a commit before it gives up
        partitions or leaves the group, and waits for the answer before it does.
        """
        wanted = [TopicPartition(p.topic, p.number, offset) for p, offset in offsets.items()]
        try:
            self._client.commit(offsets=wanted, asynchronous=True)
        except KafkaException as error:
            raise translated(error.args[0], "committing offsets") from error
        self._unanswered += 1

    def _hear(self, error: KafkaError | None, found: list[TopicPartition]) -> None:
        if self._stale:
            self._stale -= 1
        else:
            self._unanswered -= 1
            self._answers.append((error, found))

    def committed(self) -> Mapping[Partition, Offset] | None:
        if not self._answers:
            return None
        error, found = self._answers.popleft()
        if error is not None:
            raise translated(error, "committing offsets")
        for tp in found:
            if tp.error is not None:
                raise translated(tp.error, f"committing the offset of {partition_of(tp)}")
        return {partition_of(tp): tp.offset for tp in found}

    def membership(self) -> object:
        """Proof, for a transaction that commits our offsets, that we are still of the group.

        Who is no member has one too, and brokers take it for that of somebody who needs none.

        Raises:
            FencedError: we are no member, or not any more.
        """
        found = self._client.consumer_group_metadata()
        if found == self._outsider:
            raise FencedError("committing offsets: the group has let us go")
        return found

    def close(self) -> None:
        """Leave the group; after ``_CLOSE_TIMEOUT_S`` without being let go, just leave."""
        self._is_closing = True
        thread = threading.Thread(target=self._client.close, name="kafka-close", daemon=True)
        thread.start()
        thread.join(_CLOSE_TIMEOUT_S)
        if thread.is_alive():
            self._log.warning("kafka does not answer, leaving without goodbye")


def _config_error(error: KafkaException) -> ConfigError:
    return ConfigError(
        f"the Kafka client does not take its settings: {error.args[0].str()}",
        hint="look at kafka.properties in the pipeline file",
    )
