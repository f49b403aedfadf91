"""All four sinks as places to write to: their block of a pipeline file, and what arrived there."""

# ruff: noqa: ARG002 - each destination needs another part of what it is told

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final, Protocol

from benchmarks import pipelines
from benchmarks.pipelines import Pipeline
from benchmarks.servers.bench import Servers
from benchmarks.versions import CHECKOUT
from callsheet.errors import FatalError
from finance.database import Role

DATABASE: Final = "bench_replica"


class Destination(Protocol):
    """Of one benchmark's run; ``table`` is the last part of the topic's name."""

    @property
    def name(self) -> str: ...

    def block(self, pipeline: str) -> Mapping[str, Any]:
        """``sink:`` of the pipeline file."""
        ...

    def prepare(self) -> None: ...

    def rows(self, pipeline: Pipeline, table: str) -> int:
        """How many different rows are there, as a reader sees them."""
        ...

    def remove(self, pipeline: Pipeline, table: str) -> None: ...


class Elasticsearch:
    name = "elasticsearch"

    def __init__(self, servers: Servers) -> None:
        self._elastic = servers.elastic

    def block(self, pipeline: str) -> Mapping[str, Any]:
        return pipelines.into_elasticsearch(pipeline)

    def prepare(self) -> None:
        """The sink makes its index."""

    def rows(self, pipeline: Pipeline, table: str) -> int:
        index = pipeline.index(table)
        self._elastic.refresh(index)
        return self._elastic.count(index)

    def remove(self, pipeline: Pipeline, table: str) -> None:
        self._elastic.delete(pipeline.indices)


class Audit:
    """Files in a local folder; a range is due after two seconds unless told otherwise, not after
    five minutes, because only what is in place counts as caught up.
    """

    name = "hive"

    def __init__(self, servers: Servers, rotation_s: float = 2) -> None:
        self._servers = servers
        self._rotation_s = rotation_s
        self._folder = servers.scratch / "audit"

    def block(self, pipeline: str) -> Mapping[str, Any]:
        store = {"type": "local", "root": str(self._folder / pipeline)}
        return {"type": "hive", "store": store, "rotation": {"seconds": self._rotation_s}}

    def prepare(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def rows(self, pipeline: Pipeline, table: str) -> int:
        command = ["audit", "check", str(pipeline.path), "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "callsheet.cli", *command],
            cwd=CHECKOUT, env=dict(self._servers.environment), capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise FatalError(f"callsheet audit check: {done.stdout.decode()[-1000:]}")
        return sum(lane["rows"] for lane in json.loads(done.stdout)["lanes"])

    def remove(self, pipeline: Pipeline, table: str) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


class Downstream:
    name = "kafka"

    def __init__(self, servers: Servers) -> None:
        self._kafka = servers.kafka

    def block(self, pipeline: str) -> Mapping[str, Any]:
        registry = {"url": "${env:CALLSHEET_REGISTRY_URL}"}
        topic = "{prefix}.{table}"
        return {"type": "kafka", "prefix": pipeline, "topic": topic, "registry": registry}

    def prepare(self) -> None:
        """The sink makes its topic."""

    def rows(self, pipeline: Pipeline, table: str) -> int:
        return self._kafka.count(f"{pipeline.name}.{table}")

    def remove(self, pipeline: Pipeline, table: str) -> None:
        self._kafka.delete([f"{pipeline.name}.{table}"])


class Replica:
    name = "sql"

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def block(self, pipeline: str) -> Mapping[str, Any]:
        host, port = "${env:CALLSHEET_MYSQL_HOST}", "${env:CALLSHEET_MYSQL_PORT}"
        return {
            "type": "sql",
            "url": f"mysql+pymysql://{host}:{port}/{DATABASE}",
            "username": "${env:CALLSHEET_MYSQL_ADMIN_USER}",
            "password": "${env:CALLSHEET_MYSQL_ADMIN_PASSWORD}",
        }

    def prepare(self) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")

    def rows(self, pipeline: Pipeline, table: str) -> int:
        return self._execute(f"SELECT COUNT(*) FROM {DATABASE}.{table}")

    def remove(self, pipeline: Pipeline, table: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {DATABASE}")

    def _execute(self, *statements: str) -> int:
        """The number that the last one answers, if it does."""
        with self._servers.mysql(Role.ADMIN, "") as session, session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            row = cursor.fetchone()
            return 0 if row is None else int(row[0])


def all_of(servers: Servers) -> list[Destination]:
    return [Elasticsearch(servers), Audit(servers), Downstream(servers), Replica(servers)]
