"""The main job on the real servers: a database, a connector and pipelines of a test's own.

A :class:`MainJob` owns everything it makes (MySQL database, Debezium connector with its topics,
pipelines with their groups and indices), so several share one stack. Its files are made from the
committed ones in ``cdc-config/``: what is tested is what is shipped.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient
from elasticsearch import Elasticsearch

from callsheet.errors import CallsheetError, UnavailableError
from callsheet.kafka.admin import KafkaTopics
from callsheet.kafka.groups import KafkaGroups, PartitionOffsets
from callsheet.kafka.settings import Connection
from callsheet.ports import SystemClock
from connectors.apply import Applier
from connectors.client import ConnectClient
from connectors.files import load
from connectors.progress import BinlogPosition, measure
from connectors.restarts import start_over
from connectors.subjects import RegistrySubjects
from connectors.survey import MysqlSurvey
from finance.database import Role
from finance.simulate import Simulator, Summary, Until
from finance.tables import BUSINESS_TABLES
from stack import Stack
from tests.support.equality import Report, compare_tables
from tests.support.finance import Database, a_database
from tests.support.kafka_log import read_all
from tests.support.main_job_files import (
    CHECKOUT,
    Pipeline,
    Shape,
    copy_overrides,
    write_connector,
    write_pipeline,
)
from tests.support.polling import PATIENCE_S, until
from tests.support.worker_process import WorkerProcess


@dataclass
class MainJob:
    """One capture, and any number of pipelines behind it. Use :func:`a_main_job`."""

    stack: Stack
    database: Database
    folder: Path
    """A cdc-config of its own."""
    wire: str = "avro"
    tables: tuple[str, ...] = ()
    """Captured besides the business tables; they may be created later."""
    name: str = field(default_factory=lambda: f"job-{uuid4().hex[:8]}")
    partitions: int | None = None
    """Of each topic, where not the committed number."""
    workers: list[WorkerProcess] = field(default_factory=list)
    pipelines: list[Pipeline] = field(default_factory=list)

    # --- neighbours -----------------------------------------------------------------------------

    @property
    def environ(self) -> Mapping[str, str]:
        """Of the commands; workers register below the folder, where nobody else's are."""
        own = {"CALLSHEET_STATE_DIR": str(self.folder / "state"), "CALLSHEET_STACK": "none"}
        return {**os.environ, **self.database.environment, **own}

    @cached_property
    def connect(self) -> ConnectClient:
        return ConnectClient(self.environ["CALLSHEET_CONNECT_URL"])

    @cached_property
    def elastic(self) -> Elasticsearch:
        return Elasticsearch(self.environ["CALLSHEET_ELASTICSEARCH_URL"], request_timeout=60)

    @cached_property
    def kafka(self) -> KafkaTopics:
        return KafkaTopics({"bootstrap.servers": self.bootstrap})

    @cached_property
    def groups(self) -> KafkaGroups:
        return KafkaGroups(Connection(self.bootstrap, {}))

    @property
    def bootstrap(self) -> str:
        return self.environ["CALLSHEET_KAFKA_BOOTSTRAP"]

    # --- capture --------------------------------------------------------------------------------

    @property
    def captured(self) -> list[str]:
        return [*(table.name for table in BUSINESS_TABLES), *self.tables]

    def topic(self, table: str) -> str:
        return f"{self.name}.{self.database.name}.{table}"

    @property
    def shape(self) -> Shape:
        return Shape(
            self.name, self.database.name, self.wire, tuple(self.captured), self.partitions
        )

    @property
    def connector_file(self) -> Path:
        return self.folder / "connectors" / f"{self.name}.json"

    def write_connector(self, changes: Mapping[str, str] | None = None) -> Path:
        """The committed connector, pointed at this database."""
        write_connector(self.connector_file, self.shape, changes)
        return self.connector_file

    def start_capture(
        self, changes: Mapping[str, str] | None = None, unchecked: Mapping[str, str] | None = None
    ) -> None:
        """As `callsheet connectors apply` does it; returns when the connector has moved.
        ``unchecked`` are settings of somebody else's connector, which our check of files refuses.
        """
        survey = MysqlSurvey(self.environ)
        subjects, clock = RegistrySubjects(self.environ), SystemClock()
        applier = Applier(
            self.connect, self.kafka, survey, clock, subjects=subjects, wait_s=PATIENCE_S
        )
        file = load(self.write_connector(changes))
        applier.apply([replace(file, config={**file.config, **(unchecked or {})})])

    def wait_for_capture(
        self, patience_s: float = PATIENCE_S, *, is_supervised: bool = False
    ) -> None:
        """Until Kafka has all that MySQL has committed by now. ``is_supervised``: somebody starts a
        connector again that has failed.
        """
        ((file, position, *_),) = self.database.ask("SHOW BINARY LOG STATUS")
        goal = BinlogPosition.parse(str(file), int(position))

        def is_there() -> bool:
            with suppress(UnavailableError):  # Connect may be the one that a test has killed
                status = self.connect.status(self.name)
                is_lost = status and status.failed and not is_supervised
                assert not is_lost, f"{self.name} failed: {status}"
                progress = measure(self.connect.offsets(self.name), {})
                return (
                    progress.position is not None
                    and not progress.snapshotting
                    and progress.position >= goal
                )
            return False

        until(is_there, f"capture has come to {goal}", patience_s)

    def snapshot_again(self, *meanwhile: str) -> None:
        """While nobody captures, these statements; then the connector begins anew without its
        offsets, as after a kill before they were first stored.
        """
        self.connect.stop(self.name)
        status = self.connect.status
        until(lambda: (s := status(self.name)) and not s.tasks, "the connector stops")
        for statement in meanwhile:
            self.database.execute(statement)
        start_over(self.connect, self.name, SystemClock())
        self.connect.resume(self.name)

    # --- pipelines and workers ------------------------------------------------------------------

    def pipeline(
        self,
        label: str = "search",
        *,
        tables: Sequence[str] | None = None,
        hosts: Sequence[str] = (),
        **sections: Any,
    ) -> Pipeline:
        """A new pipeline from the committed file; ``sections`` are laid over its own."""
        topics = [self.topic(table) for table in (self.captured if tables is None else tables)]
        made = write_pipeline(self.folder, self.shape, label, topics, hosts, sections)
        self.pipelines.append(made)
        return made

    def start(self, pipeline: Pipeline, *arguments: str) -> WorkerProcess:
        """`callsheet run` in a process of its own; returns when it is a member of its group."""
        worker = self.launch(pipeline, *arguments)
        worker.wait_until_ready()
        return worker

    def launch(self, pipeline: Pipeline, *arguments: str) -> WorkerProcess:
        """The same without waiting for it."""
        log = self.folder / f"{pipeline.name}.log"
        worker = WorkerProcess.start(
            ["run", str(pipeline.path), *arguments], self.environ, log, cwd=CHECKOUT
        )
        self.workers.append(worker)
        return worker

    # --- how far --------------------------------------------------------------------------------

    def offsets(
        self, pipeline: Pipeline, tables: Collection[str] | None = None
    ) -> list[PartitionOffsets]:
        topics = pipeline.topics if tables is None else [self.topic(table) for table in tables]
        return self.groups.offsets(pipeline.group, self.groups.partitions(topics))

    def wait_until_in_sync(
        self,
        pipeline: Pipeline,
        *,
        tables: Collection[str] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Until all that MySQL has committed by now is captured, delivered and committed."""
        self.wait_for_capture(patience_s)

        def is_in_sync() -> bool:
            with suppress(CallsheetError):
                found = self.offsets(pipeline, tables)
                return bool(found) and all(place.lag == 0 for place in found)
            return False

        until(is_in_sync, f"{pipeline.name} has committed everything", patience_s)

    def compare(self, pipeline: Pipeline, tables: Sequence[sa.Table] = BUSINESS_TABLES) -> Report:
        aliases = {table: pipeline.alias(table.name) for table in tables}
        return compare_tables(self.database.engine(Role.READER), self.elastic, aliases)

    def assert_equal(self, pipeline: Pipeline, tables: Sequence[sa.Table] = BUSINESS_TABLES) -> int:
        """The index is MySQL, row for row; returns the number of rows."""
        report = self.compare(pipeline, tables)
        assert report.is_equal, f"{pipeline.name} differs from MySQL:\n{report}"
        return report.rows

    def reflected(self, table: str) -> sa.Table:
        """A table as MySQL has it now."""
        return sa.Table(table, sa.MetaData(), autoload_with=self.database.engine(Role.ADMIN))

    def indices(self, pattern: str) -> list[str]:
        """Names of the indices that match; aliases do not count."""
        return sorted(self.elastic.indices.get(index=pattern, features=["aliases"]))

    # --- Kafka ----------------------------------------------------------------------------------

    def records(self, topics: Sequence[str]) -> list[Message]:
        """Every committed record of these topics, markers left out."""
        return read_all(self.bootstrap, self.groups, topics)

    def dead_letters(self, pipeline: Pipeline) -> list[Message]:
        return self.records([pipeline.letters])

    # --- the studio -----------------------------------------------------------------------------

    def simulate(self, changes: int, *, seed: int = 7, rate_per_s: float = 100_000) -> Summary:
        simulator = Simulator(self.database.engine(Role.APP), seed)
        return simulator.run(rate_per_s, Until(changes=changes))

    # --- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        with suppress(CallsheetError):
            self._delete_connector()
        for index in self.indices(f"{self.name}-*"):
            self.elastic.indices.delete(index=index)
        self._delete_topics()
        self.connect.close()
        self.elastic.close()

    def _delete_connector(self) -> None:
        if self.connect.config(self.name) is None:
            return
        self.connect.stop(self.name)
        status = self.connect.status
        until(lambda: (s := status(self.name)) and not s.tasks, "the connector stops")
        self.connect.reset_offsets(self.name)
        self.connect.delete(self.name)

    def _delete_topics(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        mine = [name for name in admin.list_topics(timeout=10).topics if self.name in name]
        for future in admin.delete_topics(mine).values() if mine else ():
            future.result(30)


@contextmanager
def a_main_job(
    stack: Stack,
    folder: Path,
    *,
    wire: str = "avro",
    tables: tuple[str, ...] = (),
    partitions: int | None = None,
) -> Iterator[MainJob]:
    """Its database is migrated and empty; nothing captures it yet."""
    with a_database(stack.environment()) as database:
        database.up()
        job = MainJob(stack, database, folder, wire, tables, partitions=partitions)
        copy_overrides(folder, job.shape)
        try:
            yield job
        finally:
            job.close()
