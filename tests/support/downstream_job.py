"""A topic of changes, a pipeline that carries them downstream, and what must come out of it."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Self

import structlog
from confluent_kafka import Producer

from callsheet.config.loading import load
from callsheet.kafka.dead_letters import original_place
from callsheet.observability.health import HealthLimits
from callsheet.observability.relay import Relay
from callsheet.ports import SystemClock
from callsheet.runtime import WorkerState
from callsheet.supervision import Plan, Supervisor
from sinks import plugin
from tests.support.downstream import headers_of, records
from tests.support.envelopes import JsonTable, an_envelope, envelope_schema
from tests.support.kafka import Cluster, eventually

CHILD = (sys.executable, "-m", "callsheet.child")
_COLUMNS = {"id": "long", "name": ["null", "string"]}
_GARBAGE = (b"\x00\x01\x02", b"{", b"[]", b'{"op":"c"}')


@dataclass(slots=True)
class DownstreamJob:
    """Every change is a record of its own: so is what comes out, each exactly once."""

    cluster: Cluster
    folder: Path
    registry: str
    topic: str
    letters: str
    changes: list[str] = field(default_factory=list)
    """The value's ``name`` of each, which no two share."""
    garbage: set[tuple[str, int, int]] = field(default_factory=set)
    _random: Random = field(default_factory=lambda: Random(11))

    @property
    def name(self) -> str:
        return self.cluster.name

    @property
    def target(self) -> str:
        return f"{self.name}.finance.titles"

    def change(self, count: int) -> None:
        producer = Producer({"bootstrap.servers": self.cluster.connection.bootstrap_servers})
        table = JsonTable(("id",), topic=self.topic)
        for _ in range(count):
            identifier, name = self._random.randint(1, 200), f"name {len(self.changes)}"
            row = {"id": identifier, "name": name}
            message = table.message(an_envelope("u", after=row, pos=100 + len(self.changes)))
            producer.produce(self.topic, message.value(), message.key(), partition=identifier % 3)
            self.changes.append(name)
            producer.poll(0)
        assert producer.flush(30) == 0

    def spoil(self, count: int) -> None:
        """Records that nobody can decode, in every partition."""
        producer = Producer({"bootstrap.servers": self.cluster.connection.bootstrap_servers})

        def note(_: object, message: Any) -> None:
            self.garbage.add((self.topic, message.partition(), message.offset()))

        for number in range(count):
            value = _GARBAGE[number % len(_GARBAGE)]
            producer.produce(self.topic, value, b"?", partition=number % 3, on_delivery=note)
        assert producer.flush(30) == 0

    def write(self, label: str = "pipeline", **sections: Any) -> Path:
        (self.folder / "schemas").mkdir(exist_ok=True)
        schema = {**envelope_schema(_COLUMNS), "callsheet.key": ["id"]}
        (self.folder / "schemas" / f"{self.topic}.avsc").write_text(json.dumps(schema))
        document: dict[str, Any] = {
            "name": self.name,
            "source": {"format": "json", "topics": [self.topic]},
            "kafka": {
                "bootstrap_servers": self.cluster.connection.bootstrap_servers,
                "group_id": self.name,
            },
            "delivery": {
                "poll_events": 40,
                "in_hand_events": 200,
                "commit_interval_seconds": 0.1,
                "session_timeout_seconds": 6,  # the group lets a killed member go after it
            },
            "dead_letters": {"topic": self.letters},
            "http": {"port": 0},
            "sink": {
                "type": "kafka",
                "prefix": self.name,
                "partitions": 3,
                "replication_factor": 1,
                "registry": {"url": self.registry},
            },
        }
        for name, values in sections.items():
            document[name] = {**document.get(name, {}), **values}
        file = self.folder / f"{label}.yaml"
        file.write_text(json.dumps(document))
        load(file, os.environ, plugin)
        return file

    def is_drained(self) -> bool:
        return self.cluster.lag(self.name, self.topic) == 0

    def check(self) -> None:
        """Readers of committed records find each change once, and each letter once."""
        eventually(self.is_drained, "everything is committed")
        address = self.cluster.connection.bootstrap_servers
        found = Counter(_name_of(message.value()) for message in records(address, self.target))
        assert found == Counter(self.changes)
        letters = Counter(original_place(headers_of(m)) for m in records(address, self.letters))
        assert letters == Counter(self.garbage)


def _name_of(value: Any) -> str:
    """From the raw Avro bytes: the name is the only text of this form in them."""
    start = value.rindex(b"name ")
    end = start + value[start - 1] // 2
    return str(value[start:end].decode())


class Supervised:
    """A supervisor in a thread, its workers real processes."""

    def __init__(
        self, job: DownstreamJob, file: Path, command: Sequence[str] = CHILD, workers: int = 1
    ) -> None:
        health = HealthLimits(turn_s=60.0)
        plans = [
            Plan(job.name, str(file), file.read_text(), number, health, grace_s=30.0)
            for number in range(workers)
        ]
        self.supervisor = Supervisor(
            plans, Relay(), SystemClock(), structlog.get_logger(), command=list(command)
        )
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.supervisor.run()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def states(self) -> Sequence[WorkerState]:
        return self.supervisor.states()
