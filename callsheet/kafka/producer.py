"""Writes records in transactions, on real brokers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as ClientMessage
from structlog.typing import FilteringBoundLogger

from callsheet.backoff import Backoff, Outage
from callsheet.batch import Offset, Partition
from callsheet.errors import CallsheetError, ConfigError, FencedError, RetryableError
from callsheet.kafka.calls import Calls, LostError, State, is_flushed
from callsheet.kafka.leftovers import Leftovers, end_leftovers, unsettles
from callsheet.kafka.settings import Connection, transaction_config
from callsheet.kafka.troubles import ClientTroubles
from callsheet.kafka.unacknowledged import Unacknowledged
from callsheet.kafka.verdicts import Verdict, stopping, verdict
from callsheet.ports import Clock, Deadline, OutgoingRecord

_NAP_S = 0.05
_ABORT_S = 5.0
_PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)  # noqa: SLF001 - librdkafka's names
_HINT = "is the broker up? `callsheet stack status`"
_UNTAKEN = "the brokers do not acknowledge in time"
_DOUBT = "brokers were lost, and may have forgotten to end the last transaction"


def _close(client: Producer) -> None:
    """Whatever it still tries to abort is ended by its successor, and it may well be refused."""
    with suppress(Exception):
        client.close()


class TransactionalProducer:
    """Implements :class:`callsheet.ports.Producer`.

    Once something failed (:attr:`failure`), nothing more is sent and nothing is committed until
    :meth:`start_over`. Whatever state a client is in then, a new one of the same transactional id
    ends what it left open: so a call whose outcome is unknown costs no more than the client.
    """

    def __init__(  # noqa: PLR0913 - who it is, how it travels, its bounds
        self,
        connection: Connection,
        transactional_id: str,
        *,
        max_message_bytes: int,
        in_flight_bytes: int,
        budget_s: float,
        log: FilteringBoundLogger,
        clock: Clock,
    ) -> None:
        self._log, self._clock = log, clock
        self._budget_s, self._most_bytes = budget_s, in_flight_bytes
        self._troubles = ClientTroubles(log, clock)
        self._config: dict[str, object] = {
            **transaction_config(
                connection,
                transactional_id,
                max_message_bytes=max_message_bytes,
                budget_s=budget_s,
            ),
            "delivery.report.only.error": True,
            "log_level": 0,
        }
        self.failure = ""
        """Why the transaction is lost; empty while it is not."""
        self._calls = Calls(clock, self._is_cut_off)
        self._absence = Outage(clock, Backoff(cap_s=5.0), Random())  # noqa: S311 - jitter
        self._is_ready = self._is_open = self._is_closed = False
        self._generation = 0
        self._touched: set[str] = set()
        """Topics of the open transaction."""
        self._leftovers = Leftovers()
        self._group: Callable[[], tuple[Collection[Partition], object]] | None = None
        self._sent = Unacknowledged()
        self._client = self._new_client()

    def _new_client(self) -> Producer:
        self._generation += 1
        report = partial(self._delivered, self._generation)
        note = partial(self._troubled, self._generation)
        try:
            return Producer({**self._config, "on_delivery": report, "error_cb": note})
        except KafkaException as error:
            raise ConfigError(
                f"the Kafka client does not take its settings: {error.args[0].str()}",
                hint="look at kafka.properties in the pipeline file",
            ) from error

    def join(self, group: Callable[[], tuple[Collection[Partition], object]]) -> None:
        """Offsets are committed with what is sent: ``group`` tells whose, and the proof that we are
        a member; raises FencedError.
        """
        self._group = group

    # --- the port -------------------------------------------------------------------------------

    def open(self, deadline: Deadline) -> None:
        if self._is_ready:
            return
        doing = "opening the transactional producer"
        try:
            self._calls.insist(self._client.init_transactions, doing, deadline, outlasts_loss=True)
        except LostError as error:
            self._replace(error)
            away = RetryableError(str(error), hint=_HINT)
            self._absence.failed(away)
            raise away from error
        self._absence.over()
        self._is_ready = True

    def make_room(self, size_bytes: int, deadline: Deadline) -> None:
        if self.failure:
            return
        if not self._begin(deadline):
            return
        while self._is_full_for(size_bytes):
            if deadline.expired():
                raise RetryableError(_UNTAKEN, hint=_HINT)
            self._serve(min(_NAP_S, deadline.remaining_s()))

    def send(self, topic: str, records: Iterable[OutgoingRecord]) -> list[int]:
        if not self._is_open and not self.failure:
            self._begin_or_fail()
        if self._leftovers.may_be_in(topic):
            self.fail(f"{topic} may hold what a predecessor left open")
        if self.failure:
            return []
        self._touched.add(topic)
        produce: Any = self._client.produce  # its stub wants a list of its own
        refused: list[int] = []
        number = size = 0
        try:
            for number, (key, value, headers) in enumerate(records, 1):
                try:
                    produce(topic, value, key, headers=headers)
                except KafkaException as error:
                    if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                        raise
                    refused.append(number - 1)
                else:
                    size += len(value or b"") + len(key or b"")
        except KafkaException as error:
            self._fail_by(error.args[0], f"writing to {topic}")
        except BufferError:
            self.fail("the client's memory for records is full")
        self._sent.add(number, size)
        self._serve()
        return refused

    # --- for the consumer that commits through it ------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Is there anything that nobody has committed or aborted?"""
        return self._is_open

    @property
    def has_leftovers(self) -> bool:
        """Is there anything that has to be ended once more before the next transaction?"""
        return self._leftovers.are_there

    def commit(
        self, offsets: Mapping[Partition, Offset], membership: object, deadline: Deadline
    ) -> bool:
        """End the transaction with these offsets, if any; False: it is lost, see :attr:`failure`.

        Raises:
            RetryableError: there was nothing in it, and it could not even begin.
            FatalError, ConfigError: no transaction of ours will ever do.
        """
        if self.failure:
            return False
        if not self._begin(deadline):
            return False
        wanted = [TopicPartition(p.topic, p.number, offset) for p, offset in offsets.items()]
        client = self._client
        try:
            self._require_flushed(deadline)
            if self._is_doubtful():
                return False
            if wanted:
                self._calls.insist(
                    lambda s: client.send_offsets_to_transaction(wanted, membership, s),
                    "adding the offsets to the transaction",
                    deadline,
                )
            # All of it is acknowledged, so the one before was ended before any doubt came up.
            if self._is_doubtful():
                return False
            self._leftovers.asked(self._touched)
            self._calls.insist(client.commit_transaction, "committing the transaction", deadline)
        except LostError as error:
            self.fail(str(error))
            if error.state is not State.LOST:
                self._replace(error)
            return False
        self._forget_open()
        return True

    def fail(self, why: str) -> None:
        """From here on nothing of the open transaction may ever be seen."""
        self.failure = self.failure or why

    def flush(self, deadline: Deadline) -> None:
        """Until the brokers have all that was sent; what they do not take in time is lost."""
        if not self._is_flushed(deadline):
            self.fail(_UNTAKEN)

    def _require_flushed(self, deadline: Deadline) -> None:
        if not self._is_flushed(deadline):
            raise LostError(f"committing the transaction: {_UNTAKEN}", State.UNKNOWN)

    def _is_flushed(self, deadline: Deadline) -> bool:
        try:
            return is_flushed(self._client, max(_NAP_S, deadline.remaining_s()))
        except KafkaException as error:
            self._fail_by(error.args[0], "sending")
            return True

    def start_over(self) -> None:
        """Take back what is open, and go on as if nothing had been sent since the last commit."""
        if self._is_open or self._leftovers.has_last:
            self._leftovers.take(self._touched)
        if self._is_cut_off():
            self._replace(LostError(_DOUBT, State.LOST))
        elif self._is_open:
            self._abort()
        self._forget_open()
        self.failure = ""

    def revive(self) -> None:
        """A client that was replaced ends its predecessor's transaction as soon as it can: the
        group tells nobody an offset that a transaction is still holding.
        """
        if not self._is_open:
            self._is_doubtful()
        if not self._is_ready and not self.failure and not self._absence.wait_s():
            with suppress(RetryableError):
                self.open(Deadline.after(self._clock, 1.0))

    def disown(self) -> bool:
        """End a transaction of ours, or of a predecessor of the same name, that holds offsets of
        the group: see :func:`end_leftovers`.

        Returns False if it could not be done now. Whoever is not ready has nothing to disown yet:
        :meth:`revive` comes first.
        """
        if not self._is_ready or self._is_open or self.failure:
            return False
        if not self._leftovers.are_there:
            self._leftovers.found()
        try:
            self._end_leftovers(Deadline.after(self._clock, self._budget_s))
        except KafkaException as error:
            self._replace(LostError(f"taking back offsets: {error.args[0].str()}", State.LOST))
        except LostError as error:
            self._replace(error)
        return not self._leftovers.are_there

    def close(self) -> None:
        """Nothing is raised: whoever closes may be on the way out because of an error already, and
        what could not be aborted is ended by the broker or by our successor.
        """
        if self._is_open:
            with suppress(CallsheetError):
                self._abort()
        self._forget_open()
        if not self._is_closed:
            self._is_closed = True
            self._release(self._client)

    # --- inside ---------------------------------------------------------------------------------

    def _begin(self, deadline: Deadline) -> bool:
        """Is a transaction open now? Else :attr:`failure` says why not."""
        if self._is_open:
            return True
        self.open(deadline)
        if self._is_doubtful():
            return False
        self._leftovers.is_in_doubt = False  # of what, there is nothing
        doing = "beginning a transaction"
        try:
            self._end_leftovers(deadline)
            self._client.begin_transaction()
        except FencedError as error:
            self.fail(error.message)
            return False
        except (KafkaException, LostError) as error:
            if isinstance(error, LostError):
                lost = error
            elif verdict(fault := error.args[0]) is Verdict.STOP:
                raise stopping(fault, doing) from error
            else:
                lost = LostError(f"{doing}: {fault.str()}", State.LOST)
            self._replace(lost)
            raise RetryableError(str(lost), hint=_HINT) from error
        self._is_open = True
        return True

    def _end_leftovers(self, deadline: Deadline) -> None:
        if not self._leftovers.are_there:
            return
        held, membership = self._group() if self._group else ((), None)
        if self._group and not held:
            raise FencedError("ending what was taken back: no partition is ours")
        self._leftovers.is_in_doubt = False
        client, topics = self._client, self._leftovers.topics
        end_leftovers(client, self._calls, topics, deadline, held=held, membership=membership)
        self._serve()
        if self.failure:  # a delivery report said so meanwhile
            raise LostError(self.failure, State.LOST)
        if self._leftovers.is_in_doubt:
            raise LostError(_DOUBT, State.LOST)
        self._leftovers.ended()

    def _is_doubtful(self) -> bool:
        """Have brokers been lost since the last commit was asked for? Then it may never be ended
        in some partitions, and whatever is aborted there next takes it along. So this is a failure:
        all is read again from what the group has once :meth:`_end_leftovers` has been there.
        """
        self._serve()
        if self._leftovers.may_be_the_last:
            self.fail(_DOUBT)
        return bool(self.failure)

    def _is_cut_off(self) -> bool:
        self._serve()
        return self._leftovers.is_in_doubt

    def _serve(self, timeout_s: float = 0.0) -> None:
        """Hear what the client has to report."""
        try:
            self._client.poll(timeout_s)
        except KafkaException as error:  # it is at its end
            self._fail_by(error.args[0], "writing in a transaction")

    def _begin_or_fail(self) -> None:
        try:
            self._begin(Deadline.after(self._clock, self._budget_s))
        except RetryableError as error:
            self.fail(error.message)

    def _delivered(self, generation: int, error: KafkaError | None, message: ClientMessage) -> None:
        """Only failures are reported. What the transaction itself says is only their number."""
        if error is None or error.code() in _PURGED or generation != self._generation:
            return
        self.fail(f"writing to {message.topic()}: {error.str()}")
        if verdict(error) is Verdict.STOP:
            self._calls.refusal = self._calls.refusal or error

    def _troubled(self, generation: int, error: KafkaError) -> None:
        self._troubles.note(error)
        if generation == self._generation and unsettles(error):
            self._leftovers.is_in_doubt = True

    def _fail_by(self, error: KafkaError, doing: str) -> None:
        self.fail(f"{doing}: {error.str()}")
        if verdict(error) is Verdict.STOP:
            raise stopping(error, doing)

    def _abort(self) -> None:
        deadline = Deadline.after(self._clock, _ABORT_S)
        try:
            self._calls.insist(self._client.abort_transaction, "aborting the transaction", deadline)
        except LostError as error:
            self._replace(error)
        if self._calls.refusal is not None:
            raise stopping(self._calls.refusal, "writing in a transaction")

    def _replace(self, why: LostError) -> None:
        """A new client of the same id; the broker ends what the old one left."""
        if not self._absence.is_on:  # else it was told when that began
            self._log.warning("transactional producer replaced", cause=str(why))
        old, self._client = self._client, self._new_client()
        self._is_ready = False
        self._leftovers.take(self._touched)
        self._leftovers.is_in_doubt = False
        self._forget_open()
        if why.state is not State.STUCK:
            self._release(old)
        # A call that is stuck holds its client, which goes when the call returns.

    def _release(self, client: Producer) -> None:
        """In a thread: letting go of a client waits for brokers that may not answer."""
        client.purge(blocking=False)
        threading.Thread(target=_close, args=[client], name="kafka-release", daemon=True).start()

    def _forget_open(self) -> None:
        self._is_open = False
        self._touched.clear()
        self._sent.clear()

    def _is_full_for(self, size_bytes: int) -> bool:
        waiting = self._sent.size_bytes(len(self._client))
        return bool(waiting) and waiting + size_bytes > self._most_bytes and not self.failure
