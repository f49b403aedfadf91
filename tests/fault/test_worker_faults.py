"""Workers killed, orphaned, frozen out or fed garbage, on the real servers: nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import structlog
from confluent_kafka import Producer

from callsheet.config.loading import load
from callsheet.delivery import Step
from callsheet.kafka.dead_letters import original_place
from callsheet.observability.health import HealthLimits
from callsheet.observability.relay import Relay
from callsheet.ports import SystemClock
from callsheet.runtime import WorkerState
from callsheet.supervision import Plan, Supervisor
from sinks import plugin
from tests.support.envelopes import JsonTable, an_envelope, envelope_schema
from tests.support.kafka import Cluster, a_cluster, eventually, letters_of
from tests.support.tcp_proxy import TcpProxy

CHECKOUT = Path(__file__).parents[2]
COLUMNS = {"id": "long", "name": ["null", "string"]}
GARBAGE = (b"\x00\x01\x02", b"{", b"[]", b'{"op":"c"}')


@dataclass(slots=True)
class Scene:
    """A topic of Debezium's JSON, a pipeline on it, and what the index must come to."""

    cluster: Cluster
    folder: Path
    elasticsearch: str
    topic: str
    letters: str
    expected: dict[str, str] = field(default_factory=dict)
    garbage: set[tuple[str, int, int]] = field(default_factory=set)
    _position: int = 1_000

    @property
    def name(self) -> str:
        return self.cluster.name

    def change(self, count: int, *, ids: int = 120) -> None:
        """Random inserts, updates and deletions, each key in its own partition."""
        random = Random(self._position)
        rows: list[tuple[int, dict[str, Any]]] = []
        for _ in range(count):
            identifier = random.randint(1, ids)
            row = {"id": identifier, "name": f"name {self._position}"}
            if str(identifier) in self.expected and random.random() < 0.2:
                del self.expected[str(identifier)]
                rows.append((identifier, an_envelope("d", before=row, pos=self._position)))
            else:
                self.expected[str(identifier)] = str(row["name"])
                rows.append((identifier, an_envelope("u", after=row, pos=self._position)))
            self._position += 100
        self._produce(rows)

    def _produce(self, rows: Sequence[tuple[int, dict[str, Any]]]) -> None:
        producer = Producer({"bootstrap.servers": self.cluster.connection.bootstrap_servers})
        table = JsonTable(("id",), topic=self.topic)
        for identifier, envelope in rows:
            message = table.message(envelope)
            producer.produce(
                self.topic, key=message.key(), value=message.value(), partition=identifier % 3
            )
            producer.poll(0)
        assert producer.flush(30) == 0

    def spoil(self, count: int) -> None:
        """Records that nobody can decode, in partition 0."""
        producer = Producer({"bootstrap.servers": self.cluster.connection.bootstrap_servers})

        def note(_: object, message: Any) -> None:
            self.garbage.add((self.topic, 0, message.offset()))

        for number in range(count):
            value = GARBAGE[number % len(GARBAGE)]
            producer.produce(self.topic, key=b"?", value=value, partition=0, on_delivery=note)
        assert producer.flush(30) == 0

    @property
    def file(self) -> Path:
        return self.folder / "pipeline.yaml"

    def write(self, *, elasticsearch: str = "", **sections: Any) -> None:
        (self.folder / "schemas").mkdir(exist_ok=True)
        schema = {**envelope_schema(COLUMNS), "callsheet.key": ["id"]}
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
                "type": "elasticsearch",
                "hosts": [elasticsearch or self.elasticsearch],
                "index": f"{self.name}-{{table}}",
            },
        }
        for name, values in sections.items():
            document[name] = {**document[name], **values}
        self.file.write_text(json.dumps(document))
        load(self.file, os.environ, plugin)

    def documents(self) -> dict[str, str]:
        with httpx.Client(base_url=self.elasticsearch, trust_env=False, timeout=30) as http:
            http.post(f"/{self.name}-titles/_refresh")
            answer = http.get(f"/{self.name}-titles/_search", params={"size": 1000}).json()
        hits = answer.get("hits", {}).get("hits", [])
        return {hit["_id"]: hit["_source"]["name"] for hit in hits}

    def is_drained(self) -> bool:
        return self.cluster.lag(self.name, self.topic) == 0

    def check(self) -> None:
        eventually(self.is_drained, "everything is committed")
        assert self.documents() == self.expected

    def remove(self) -> None:
        with httpx.Client(base_url=self.elasticsearch, trust_env=False, timeout=30) as http:
            for name in http.get(f"/_cat/indices/{self.name}-*?format=json").json():
                http.delete(f"/{name['index']}")


@pytest.fixture
def scene(stack_env: dict[str, str], live_stack: object, tmp_path: Path) -> Iterator[Scene]:
    with a_cluster(stack_env) as cluster:
        topic, letters = cluster.topic(3), cluster.topic(suffix="letters")
        made = Scene(cluster, tmp_path, stack_env["CALLSHEET_ELASTICSEARCH_URL"], topic, letters)
        made.write()
        yield made
        made.remove()


class Supervised:
    """A supervisor in a thread, its workers real processes."""

    def __init__(self, scene: Scene, command: Sequence[str], workers: int = 1) -> None:
        health = HealthLimits(turn_s=60.0)
        text = scene.file.read_text()
        plans = [
            Plan(scene.name, str(scene.file), text, number, health, grace_s=30.0)
            for number in range(workers)
        ]
        self.relay = Relay()
        self.supervisor = Supervisor(
            plans, self.relay, SystemClock(), structlog.get_logger(), command=command
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

    def state(self) -> WorkerState:
        return self.supervisor.states()[0]

    def total(self, name: str) -> float:
        return sum(
            sample.value
            for family in self.relay.collect()
            for sample in family.samples
            if sample.name == f"callsheet_{name}"
        )


CHILD = (sys.executable, "-m", "callsheet.child")


def test_a_worker_killed_among_letters_loses_none(scene: Scene, tmp_path: Path) -> None:
    """Every crash point: test_every_store_worker.py."""
    step, number = Step.ACKNOWLEDGED, 2
    scene.change(300)
    scene.spoil(6)
    scene.change(300)
    marker = tmp_path / "died"
    command = [sys.executable, "-m", "tests.support.crashing_child", step, str(number), str(marker)]
    with Supervised(scene, command) as running:
        eventually(marker.exists, f"killed at {step.value}")
        scene.change(100)
        scene.check()
        assert running.state().restarts == 1
    assert running.error is None
    letters = letters_of(scene.cluster, scene.letters, len(scene.garbage))
    assert {original_place(dict(m.headers() or ())) for m in letters} == scene.garbage
    # What the dead process counted is still there, as far as it had told.
    assert running.total("consumed_events_total") >= 100


def test_two_workers_one_killed_share_the_work_again(scene: Scene, tmp_path: Path) -> None:
    scene.change(200)
    marker = tmp_path / "died"
    command = [sys.executable, "-m", "tests.support.crashing_child", "written", "2", str(marker)]
    with Supervised(scene, command, workers=2) as running:
        eventually(marker.exists, "one is killed")
        scene.change(300)
        scene.check()
        eventually(
            lambda: all(s.is_ready for s in running.supervisor.states()), "both are ready again"
        )


def test_a_frozen_destination_is_waited_for(scene: Scene) -> None:
    address = urlsplit(scene.elasticsearch)
    with TcpProxy((address.hostname or "", address.port or 0)) as proxy:
        scene.write(
            elasticsearch=f"http://127.0.0.1:{proxy.port}",
            delivery={
                "write_budget_seconds": 3,
                "pause_after_seconds": 1,
                "retry_cap_seconds": 1,
            },
        )
        scene.change(100)
        with Supervised(scene, CHILD) as running:
            eventually(scene.is_drained, "the first rows")
            proxy.freeze()
            scene.change(2_000)

            def is_paused() -> bool:
                status = running.state().status
                return status is not None and status.is_paused

            eventually(is_paused, "the assignment is paused")
            state = running.state()
            assert state.is_live
            assert state.status is not None
            assert state.status.in_hand_events <= 200
            assert state.status.held_since_s is not None
            before = running.total("rebalances_total")
            proxy.thaw()
            scene.check()
            assert running.total("rebalances_total") == before
            assert running.total("given_back_events_total") == 0


def test_garbage_alone_blows_the_fuse_and_keeps_the_offsets(scene: Scene) -> None:
    scene.write(dead_letters={"topic": scene.letters, "fuse": {"run_events": 20}})
    scene.spoil(100)
    with Supervised(scene, CHILD) as running:
        eventually(lambda: "fuse" in running.state().last_error, "the fuse blows")
        assert not running.state().is_ready
    committed = scene.cluster.groups.committed(scene.name)
    assert all(offset == 0 for offset in committed.values())


def run_callsheet(scene: Scene, state_dir: Path) -> subprocess.Popen[bytes]:
    env: Mapping[str, str] = {**os.environ, "CALLSHEET_STATE_DIR": str(state_dir)}
    command = [sys.executable, "-m", "callsheet.cli", "run", str(scene.file)]
    with (state_dir / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=CHECKOUT, env=env, stdout=log, stderr=log)


def test_orphaned_workers_finish_and_end(scene: Scene, tmp_path: Path) -> None:
    scene.change(200)
    parent = run_callsheet(scene, tmp_path)
    eventually(scene.is_drained, "the worker delivers")
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    eventually(lambda: not child.is_running(), "the orphan ends")
    scene.check()
    assert scene.cluster.groups.state(scene.name).members == ()


def test_sigterm_finishes_the_batch_and_leaves_the_group(scene: Scene, tmp_path: Path) -> None:
    scene.change(400)
    parent = run_callsheet(scene, tmp_path)
    eventually(lambda: scene.cluster.groups.state(scene.name).members, "it has joined")
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(60) == 0, (tmp_path / "log").read_text()
    assert scene.cluster.groups.state(scene.name).members == ()
    again = run_callsheet(scene, tmp_path)
    eventually(lambda: scene.cluster.groups.state(scene.name).members, "it has joined again")
    scene.check()
    again.send_signal(signal.SIGINT)
    assert again.wait(60) == 0
