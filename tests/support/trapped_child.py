"""A worker's process that may step into a trap: ``-m tests.support.trapped_child FOLDER``.

It is the product's own child, whose sinks and clients tell where they are: the steps of the loop
and of the audit's and the replica's publications by their own ``at``, what lies between a client
and its server by a client that counts along. Points:

    fetched written acknowledged committing committed             every sink
    bulk bulk_sent bulk_answered                                  search
    staged named moved moved_some moved_last marked               audit
    records_sent offsets_sent commit_sent transaction_committed   downstream
    begun rows offsets commit_sent replica_committed              replica

Each is named after what was done last; ``bulk``: it is ready to be sent; ``moved_some``, not
``moved_last``: another file of the range is to be moved; ``commit_sent``: the answer is unread.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import confluent_kafka
import pymysql
from elastic_transport import TransportError
from pymysql.constants import COMMAND

import callsheet.kafka.producer
import sinks.elasticsearch
import sinks.elasticsearch.client
import sinks.hive
import sinks.kafka
import sinks.sql
from callsheet.child import main
from callsheet.sink import Sink, SinkContext
from sinks.hive.publication import PublishStep
from sinks.hive.sink import HiveSink
from sinks.sql.sink import SqlSink
from sinks.sql.store import Step
from tests.support.traps import Traps, Walker

_MOMENT_S = 0.02
"""Long enough to send a request, too short to wait for its answer."""


def trap_sinks(walker: Walker) -> None:
    """Every sink says which worker this is; two of them where they are."""

    def audit(settings: Any, context: SinkContext) -> Sink:
        return HiveSink(settings, context, at=_audit_steps(walker))

    def replica(settings: Any, context: SinkContext) -> Sink:
        return SqlSink(settings, context, at=_replica_steps(walker))

    _trap(walker, sinks.elasticsearch, sinks.elasticsearch.PLUGIN.build)
    _trap(walker, sinks.hive, audit)
    _trap(walker, sinks.kafka, sinks.kafka.PLUGIN.build)
    _trap(walker, sinks.sql, replica)


def _trap(walker: Walker, module: ModuleType, build: Callable[[Any, SinkContext], Sink]) -> None:
    def introduced(settings: Any, context: SinkContext) -> Sink:
        walker.introduce(context.pipeline, int(context.metrics_labels["worker"]))
        return build(settings, context)

    module.__dict__["PLUGIN"] = replace(module.__dict__["PLUGIN"], build=introduced)


def _audit_steps(walker: Walker) -> Callable[[PublishStep], None]:
    """Called by one thread, for one range after the other."""
    files = 0

    def at(step: PublishStep) -> None:
        nonlocal files
        if step is PublishStep.STAGED:
            files += 1
        elif step is PublishStep.MOVED:
            files -= 1
            walker.reach("moved_some" if files else "moved_last")
        elif step is PublishStep.MARKED:
            files = 0
        walker.reach(step.value)

    return at


# --- clients --------------------------------------------------------------------------------------


def trap_elasticsearch(walker: Walker) -> None:
    send = sinks.elasticsearch.client.PatientNode.perform_request

    def perform_request(node: Any, method: str, target: str, *args: Any, **options: Any) -> Any:
        is_bulk = target.startswith("/_bulk")
        if is_bulk:
            walker.reach("bulk")
        if is_bulk and walker.is_due("bulk_sent"):
            with suppress(TransportError):
                send(node, method, target, *args, **{**options, "request_timeout": _MOMENT_S})
        if is_bulk:
            walker.reach("bulk_sent")
        answer = send(node, method, target, *args, **options)
        if is_bulk:
            walker.reach("bulk_answered")
        return answer

    setattr(sinks.elasticsearch.client.PatientNode, "perform_request", perform_request)  # noqa: B010


def trap_producer(walker: Walker) -> None:
    class Producer(confluent_kafka.Producer):
        """One more client of the same transaction, which dies between two of its calls."""

        def send_offsets_to_transaction(self, *args: Any) -> None:
            if walker.is_due("records_sent"):
                self.flush(10.0)  # they are on the broker, all of them
            walker.reach("records_sent")
            super().send_offsets_to_transaction(*args)
            walker.reach("offsets_sent")

        def commit_transaction(self, *args: Any) -> None:
            if walker.is_due("commit_sent"):
                with suppress(confluent_kafka.KafkaException):
                    super().commit_transaction(_MOMENT_S)
            walker.reach("commit_sent")
            super().commit_transaction(*args)
            walker.reach("transaction_committed")

    callsheet.kafka.producer.__dict__["Producer"] = Producer


_OF_THE_WRITE = threading.local()
"""Is the commit to come the one of rows and offsets? Claims and DDL commit as well."""


def _replica_steps(walker: Walker) -> Callable[[Step], None]:
    def at(step: Step) -> None:
        _OF_THE_WRITE.is_next = step is Step.OFFSETS
        walker.reach("replica_committed" if step is Step.COMMITTED else step.value)

    return at


def trap_mysql(walker: Walker) -> None:
    commit = pymysql.connections.Connection.commit

    def trapped(connection: Any) -> None:
        if getattr(_OF_THE_WRITE, "is_next", False):
            if walker.is_due("commit_sent"):
                connection._execute_command(COMMAND.COM_QUERY, "COMMIT")  # and its answer unread
            walker.reach("commit_sent")
        commit(connection)

    setattr(pymysql.connections.Connection, "commit", trapped)  # noqa: B010


def run(folder: Path) -> None:
    walker = Walker(Traps(folder))
    trap_sinks(walker)
    trap_elasticsearch(walker)
    trap_producer(walker)
    trap_mysql(walker)
    main(lambda step: walker.reach(step.value))


if __name__ == "__main__":
    run(Path(sys.argv[1]))
