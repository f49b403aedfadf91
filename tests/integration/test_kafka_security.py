"""A Kafka that wants TLS, a user and a password: a pipeline over it, and what is said at its door.

The settings are those of docs/operations.md, their secrets from the environment.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient
from ruamel.yaml import YAML

from callsheet.batch import Partition
from callsheet.errors import ConfigError
from callsheet.kafka.admin import KafkaTopics
from callsheet.kafka.consumer import GroupConsumer
from callsheet.kafka.groups import KafkaGroups
from callsheet.kafka.producer import TransactionalProducer
from callsheet.kafka.settings import Connection, Membership
from callsheet.kafka.topics import Topic
from callsheet.ports import Deadline, SystemClock
from tests.support.certificates import a_certificate
from tests.support.envelopes import JsonTable, an_envelope, envelope_schema
from tests.support.kafka import Cluster, a_worker, eventually
from tests.support.main_job_files import CHECKOUT
from tests.support.memory_sink import MemoryStore
from tests.support.secured_kafka import CuttingProxy, Secured, a_secured_kafka
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.stack
WRONG = "not the password"
QUICKLY_S = 20.0
"""Of a whole command; asked of the brokers it is said within a second."""
CONFIG, OK = 78, 0


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with a_secured_kafka(tmp_path_factory.mktemp("secured")) as found:
        yield found


@pytest.fixture
def stranger(secured: Secured, tmp_path: Path) -> Secured:
    """Who knows another authority than the broker's."""
    return secured.but(ca_file=a_certificate(tmp_path, "other").file)


@pytest.fixture
def cluster(secured: Secured) -> Cluster:
    """Everything by the secured listener."""
    return Cluster(secured.connection, AdminClient({**secured.connection.common()}))


def environ(secured: Secured, folder: Path) -> dict[str, str]:
    """Of a command; no other stack's variables, and what runs is registered below the folder."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("CALLSHEET_")}
    return {
        **mine,
        "CALLSHEET_STACK": "none",
        "CALLSHEET_STATE_DIR": str(folder / "state"),
        "CALLSHEET_KAFKA_BOOTSTRAP": secured.address,
        "CALLSHEET_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "CALLSHEET_KAFKA_SASL_MECHANISM": secured.mechanism,
        "CALLSHEET_KAFKA_SASL_USERNAME": secured.properties["sasl.username"],
        "CALLSHEET_KAFKA_SASL_PASSWORD": secured.password,
        "CALLSHEET_KAFKA_SSL_CA_FILE": str(secured.ca_file),
    }


def documented() -> dict[str, Any]:
    """The section ``kafka`` that docs/operations.md shows."""
    text = (CHECKOUT / "docs/operations.md").read_text("utf-8")
    (found,) = re.findall(r"```yaml\n(kafka:\n.*?)```", text, re.DOTALL)
    section: dict[str, Any] = YAML(typ="safe").load(found)["kafka"]
    return section


def a_pipeline(folder: Path, name: str, topic: str) -> Path:
    (folder / "schemas").mkdir()
    schema = {**envelope_schema({"id": "long"}), "callsheet.key": ["id"]}
    (folder / "schemas" / f"{topic}.avsc").write_text(json.dumps(schema))
    document = {
        "name": name,
        "source": {"format": "json", "topics": [topic]},
        "kafka": documented(),
        "dead_letters": {"replication_factor": 1},
        "http": {"port": 0},
        "sink": {"type": "discard"},
    }
    file = folder / "pipeline.yaml"
    file.write_text(json.dumps(document))
    return file


def call(environ: Mapping[str, str], *arguments: str) -> tuple[int, str, float]:
    """Its exit code, all that it said, and how long it took."""
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "callsheet.cli", *arguments],
        cwd=CHECKOUT, env=dict(environ), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert environ["CALLSHEET_KAFKA_SASL_PASSWORD"] not in said
    # Neither how wide the terminal is nor where a sentence breaks matters here.
    return done.returncode, " ".join(said.split()), time.monotonic() - began_s


# --- the right ones -----------------------------------------------------------------------------


def test_callsheet_run_and_offsets_show(secured: Secured, cluster: Cluster, tmp_path: Path) -> None:
    topic = cluster.topic()
    rows = [an_envelope("u", after={"id": n}, pos=100 + n) for n in range(50)]
    messages = [JsonTable(("id",), topic=topic).message(row) for row in rows]
    texts = [((m.key() or b"").decode(), (m.value() or b"").decode()) for m in messages]
    cluster.produce(topic, [*texts, ("?", "no change event")])
    file, env = a_pipeline(tmp_path, cluster.name, topic), environ(secured, tmp_path)
    worker = WorkerProcess.start(["run", str(file)], env, tmp_path / "log", cwd=CHECKOUT)
    try:
        worker.wait_until_ready()
        eventually(lambda: cluster.lag(f"callsheet-{cluster.name}", topic) == 0, "all is committed")
        eventually(lambda: worker.counters().of("consumed") == 51, "it is told")
        assert worker.counters().of("written") == 50
        assert worker.counters().of("dead_lettered") == 1
        code, said, _ = call(env, "offsets", "show", str(file), "--json")
        assert (code, json.loads(said)["lag"]) == (OK, 0)
        assert worker.stop() == OK
    finally:
        worker.end()
    assert secured.password not in worker.log.read_text("utf-8")
    letters = Partition(f"{cluster.name}.dead-letters", 0)
    assert cluster.groups.ends([letters], with_open=False) == {letters: 1}


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_every_client_goes_through(secured: Secured, mechanism: str) -> None:
    """Admin, producer, consumer, a group's offsets, a transaction."""
    connection, clock = secured.but(mechanism=mechanism).connection, SystemClock()
    cluster = Cluster(connection, AdminClient({**connection.common()}))
    topic, topics = f"{cluster.name}.made", KafkaTopics(connection.common())
    topics.create([Topic(topic, 1, 1, {})])
    assert topics.describe([topic])[topic].partitions == 1
    store = MemoryStore()
    live = a_worker(cluster, [topic], store)
    live.start()
    producer = TransactionalProducer(
        connection, cluster.name, max_message_bytes=1 << 20, in_flight_bytes=1 << 20,
        budget_s=30.0, log=structlog.get_logger(), clock=clock,
    )  # fmt: skip
    deadline = Deadline.after(clock, 30.0)
    producer.open(deadline)
    producer.send(topic, [(b"k", b"v", [])])
    assert producer.commit({}, None, deadline)
    producer.close()
    eventually(lambda: cluster.lag(cluster.name, topic) == 0, "the transaction is read")
    live.stop()
    assert live.error is None
    assert sorted(store.rows(topic)) == ["k"]


def test_doctor_takes_them_from_the_environment(secured: Secured, tmp_path: Path) -> None:
    assert kafka_finding(environ(secured, tmp_path))["level"] == "ok"


def kafka_finding(environ: Mapping[str, str]) -> dict[str, Any]:
    _, said, took_s = call(environ, "doctor", "--json")
    assert took_s < QUICKLY_S
    (found,) = [each for each in json.loads(said) if each["name"] == "kafka"]
    return dict(found)


# --- the wrong ones -----------------------------------------------------------------------------


@pytest.fixture(params=["password", "authority"])
def wrong(request: pytest.FixtureRequest, secured: Secured, stranger: Secured) -> Secured:
    return {"password": secured.but(password=WRONG), "authority": stranger}[request.param]


def complaint_of(wrong: Secured) -> tuple[str, str]:
    """What the message says, and what the hint names."""
    if wrong.password == WRONG:
        return "Kafka refuses who we are", "sasl.password"
    return "Kafka's certificate is not accepted", "ssl.ca.location"


def test_the_worker_ends_with_a_sentence_and_a_hint(wrong: Secured, tmp_path: Path) -> None:
    message, hint = complaint_of(wrong)
    file = a_pipeline(tmp_path, "refused", "refused.rows")
    for command in (["run"], ["offsets", "show"]):
        code, said, took_s = call(environ(wrong, tmp_path), *command, str(file))
        assert (code, message in said, hint in said) == (CONFIG, True, True), said
        assert took_s < QUICKLY_S


def test_doctor_says_it_too(wrong: Secured, tmp_path: Path) -> None:
    message, _ = complaint_of(wrong)
    found = kafka_finding(environ(wrong, tmp_path))
    assert found["level"] == "fail"
    assert message in found["message"]
    variable = "CALLSHEET_KAFKA_S" + ("ASL_*" if wrong.password == WRONG else "SL_CA_FILE")
    assert variable in found["hint"]


def test_no_admins_call_waits_for_its_timeout(wrong: Secured) -> None:
    topics, groups = KafkaTopics(wrong.connection.common()), KafkaGroups(wrong.connection)
    message, hint = complaint_of(wrong)
    partition = Partition("t", 0)
    for ask in (
        lambda: topics.describe(["t"]),
        lambda: topics.create([Topic("t", 1, 1, {})]),
        lambda: groups.partitions(["t"]),
        lambda: groups.state("g"),
        lambda: groups.offsets("g", [partition]),  # the lag probe's
        lambda: groups.begins([partition]),
    ):
        began_s = time.monotonic()
        with pytest.raises(ConfigError, match=message) as raised:
            ask()
        assert time.monotonic() - began_s < 8
        assert hint in raised.value.hint
        assert WRONG not in f"{raised.value.message} {raised.value.hint}"


class Troubles:
    def __init__(self) -> None:
        self.codes: set[int] = set()

    def note(self, error: KafkaError) -> None:
        self.codes.add(error.code())


class Listener:
    def on_assigned(self, partitions: object) -> dict[Partition, int]:
        return {}

    def on_revoked(self, partitions: object) -> None: ...

    on_lost = on_revoked


def test_a_broker_that_dies_while_it_is_told_who_we_are_has_refused_nobody(
    secured: Secured,
) -> None:
    """librdkafka gives it the code of a wrong password, which puts a pipeline down for good."""
    host, _, port = secured.address.partition(":")
    troubles, consumers = Troubles(), []
    with ExitStack() as held:
        for pieces in range(1, 7):
            proxy = held.enter_context(CuttingProxy((host, int(port)), pieces))
            connection = Connection(f"127.0.0.1:{proxy.port}", secured.properties)
            consumer = GroupConsumer(connection, Membership("g"), structlog.get_logger())
            consumer._troubles = troubles  # type: ignore[assignment]
            consumer.subscribe(["t"], Listener())
            consumers.append(consumer)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            for consumer in consumers:
                consumer.poll(1, 0.05)
        for consumer in consumers:
            consumer.close()
    assert KafkaError._AUTHENTICATION in troubles.codes
