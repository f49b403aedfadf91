"""Threads that carry the lanes' operations to the server, and keep at it until each is answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from elastic_transport import ApiError, TransportError
from elasticsearch import Elasticsearch

from callsheet.batch import Batch, Partition
from callsheet.errors import FatalError, RetryableError
from callsheet.ports import Clock, Deadline
from callsheet.sink import Progress
from sinks.elasticsearch.client import RawBulk, translated
from sinks.elasticsearch.delivery import Answer, Delivery, TooLarge
from sinks.elasticsearch.lanes import Request
from sinks.elasticsearch.outcome import outcomes
from sinks.elasticsearch.render import Rendered

BULK: Final = (
    "/_bulk?require_alias=true&filter_path=errors,items.*.status,items.*.error.type,"
    "items.*.error.reason,items.*.error.caused_by.type"
)
"""``require_alias``: an index deleted by hand must not come back by itself, with guessed types."""

_HEADERS: Final = {
    "content-type": f"{RawBulk.mimetype}; compatible-with=9",
    "accept": "application/vnd.elasticsearch+json; compatible-with=9",
}


class Sender:
    """The lock around a :class:`Delivery`, and the threads that work it off.

    ``on_written`` is called from those threads, outside of the lock, with the number of documents
    that were just written, by alias.
    """

    def __init__(
        self,
        client: Elasticsearch,
        delivery: Delivery,
        clock: Clock,
        *,
        most_bytes: int,
        on_written: Callable[[Mapping[str, int]], None],
    ) -> None:
        self._client, self._delivery, self._clock = client, delivery, clock
        self._most_bytes, self._on_written = most_bytes, on_written
        lock = threading.RLock()
        self._work = threading.Condition(lock)
        """The threads wait here."""
        self._answers = threading.Condition(lock)
        """The worker waits here."""
        self._is_stopping = False
        self._threads = [
            threading.Thread(target=self._run, name=f"bulk-{number}", daemon=True)
            for number in range(len(delivery.lanes.all))
        ]

    # --- the worker's side ----------------------------------------------------------------------

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, wait_s: float) -> None:
        """Send nothing more. A request in flight is given ``wait_s`` to be answered."""
        with self._work:
            self._is_stopping = True
            self._work.notify_all()
        deadline = Deadline.after(self._clock, wait_s)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(deadline.remaining_s())

    def check(self, topic: str) -> None:
        """Raise what stands in the way of another batch of this topic."""
        with self._answers:
            self._delivery.check(topic)

    def make_room(self, size_bytes: int, deadline: Deadline) -> None:
        """Wait until ``size_bytes`` more fit into the bound; one batch alone always does.

        Raises:
            RetryableError: not before the deadline.
        """
        with self._answers:
            while (held := self._delivery.held_bytes) and held + size_bytes > self._most_bytes:
                self._wait(deadline, "the lanes to Elasticsearch stayed full")
            self._raise_fatal()

    def accept(self, batch: Batch, alias: str, rendered: Rendered) -> None:
        with self._work:
            self._delivery.accept(batch, alias, rendered)
            if self._delivery.is_ripe:  # else whoever is answered next takes it along
                self._work.notify()

    def progress(self) -> Progress:
        with self._answers:
            self._raise_fatal()
            return self._delivery.progress()

    def flush(self, deadline: Deadline) -> None:
        with self._answers:
            self._raise_fatal()
            while self._delivery.ledger.pending:
                self._wait(deadline, "Elasticsearch did not answer for all events in time")

    def forget(self, partitions: Collection[Partition]) -> None:
        with self._answers:
            self._delivery.forget(partitions)

    def _wait(self, deadline: Deadline, late: str) -> None:
        if deadline.expired():
            trouble = self._delivery.lanes.trouble()
            raise RetryableError(f"{late}: {trouble.message}" if trouble else late)
        self._answers.wait(deadline.remaining_s())
        self._raise_fatal()

    def _raise_fatal(self) -> None:
        if self._delivery.fatal is not None:
            raise self._delivery.fatal

    # --- the threads' side ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (request := self._next()) is not None:
                answer = self._send(request)
                with self._answers:
                    written = self._delivery.settle(request, answer)
                    self._answers.notify_all()
                self._on_written(written)
        except BaseException as error:
            with self._answers:
                self._delivery.fatal = FatalError(
                    f"a sending thread broke: {type(error).__name__}",
                    hint="this is a defect of Callsheet; the offsets are kept",
                )
                self._answers.notify_all()
            raise

    def _next(self) -> Request | None:
        """Wait for something to send; None when stopping."""
        with self._work:
            while not self._is_stopping and self._delivery.fatal is None:
                now = self._clock.monotonic()
                request = self._delivery.take(now)
                if request is not None:
                    if self._delivery.is_ripe:  # there may be more than one thread's worth
                        self._work.notify()
                    return request
                due = self._delivery.lanes.next_due_s()
                self._work.wait(None if due is None or due <= now else due - now)
            return None

    def _send(self, request: Request) -> Answer:
        try:
            response = self._client.perform_request(
                "POST", BULK, headers=_HEADERS, body=request.body()
            )
            body: Any = response.body
            return outcomes(body, request.operations, lambda: _names(request))
        except ApiError as error:
            return TooLarge() if error.meta.status == 413 else translated(error, self._clock)
        except TransportError as error:
            return translated(error, self._clock)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return RetryableError(f"a bulk answer that is not understood: {error}")


def _names(request: Request) -> frozenset[str]:
    """Columns of the tables in a request: what the server's words may name."""
    schemas = {id(chunk.entry.schema): chunk.entry.schema for chunk in request.chunks}
    return frozenset(column.name for schema in schemas.values() for column in schema.columns)
