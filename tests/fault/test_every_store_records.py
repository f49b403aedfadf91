"""Records repeated, replayed, spoiled, very many at once, of changed tables, and on a disk that is
full: all four stores end up as MySQL is, and the audit has each change once.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient

from callsheet.kafka.topics import Topic
from connectors.responses import State
from stack import Stack
from tests.support.audit_proof import places
from tests.support.crew import Crew, a_crew
from tests.support.every_store import Scene
from tests.support.every_store_files import SINKS
from tests.support.main_job_files import CHECKOUT
from tests.support.polling import until
from tests.support.reliability import is_whole_matrix, measured, rate_per_s
from tests.support.small_disk import a_small_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

REPEATED: Final = 200
"""The last of each partition, as a connector repeats what it cannot know to have arrived."""
REMADE: Final = "budgets"
GARBAGE: Final = (b"\x00\x01\x02", b"{", b"\xff" * 40, b"")
ROWS_AT_ONCE, ROWS_AT_ONCE_AT_MOST = 20_000, 200_000


@pytest.fixture(scope="module")
def crew(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crew]:
    if not is_whole_matrix(request.config):
        pytest.skip("make test-faults")
    live_stack: Stack = request.getfixturevalue("live_stack")
    folder = tmp_path_factory.mktemp("every_store_records")
    with a_crew(live_stack, folder, rate_per_s=rate_per_s(request.config)) as crew:
        yield crew


def a_producer(scene: Scene) -> Producer:
    return Producer({"bootstrap.servers": scene.job.bootstrap, "log_level": 0})


def copied(producer: Producer, message: Message) -> None:
    headers: Any = message.headers()
    producer.produce(
        str(message.topic()), message.value(), message.key(),
        partition=int(message.partition() or 0), headers=headers,
    )  # fmt: skip


def callsheet(scene: Scene, *words: str) -> None:
    command = [sys.executable, "-m", "callsheet.cli", *words]
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env={**scene.job.environ},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def set_back(crew: Crew) -> None:
    """Every group to the beginning, by the command. Nobody runs."""
    crew.wait_until_gone()
    for sink in SINKS:
        callsheet(
            crew.scene, "offsets", "reset", str(crew.scene.pipelines[sink].path), "--to", "earliest"
        )
    crew.scene.stores.done.is_replayed = True
    crew.hire()


# --- repeated -------------------------------------------------------------------------------------


def test_a_connector_that_repeats_itself(crew: Crew, pytestconfig: pytest.Config) -> None:
    scene = crew.scene
    with measured(pytestconfig, "records", "repeated by the source") as found:
        with scene.load() as load:
            scene.catch_up()
            repeat(scene, "titles")
        found.recovery_s, found.changes = scene.catch_up(), load.changes
        scene.verify()


def repeat(scene: Scene, table: str) -> None:
    tails: defaultdict[int, list[Message]] = defaultdict(list)
    for message in scene.job.records([scene.job.topic(table)]):
        tails[int(message.partition() or 0)].append(message)
    producer = a_producer(scene)
    for tail in tails.values():
        for message in tail[-REPEATED:]:
            copied(producer, message)
            scene.stores.done.repeated[str(message.topic())] += message.value() is not None
    assert producer.flush(30) == 0


# --- spoiled --------------------------------------------------------------------------------------


def test_garbage_between_good_ones(crew: Crew, pytestconfig: pytest.Config) -> None:
    """One dead letter per record and pipeline; what is before and behind it flows."""
    scene = crew.scene
    with measured(pytestconfig, "records", "garbage in the middle") as found:
        with scene.load() as load:
            scene.catch_up()
            for table in scene.job.captured:
                if table != REMADE:
                    spoil(scene, scene.job.topic(table))
        found.recovery_s, found.changes = scene.catch_up(), load.changes
        scene.verify()


def spoil(scene: Scene, topic: str) -> None:
    def note(error: object, message: Message) -> None:
        assert error is None, error
        scene.stores.done.unreadable.add(
            (str(message.topic()), int(message.partition() or 0), int(message.offset() or 0))
        )

    producer = a_producer(scene)
    for value in GARBAGE:
        producer.produce(topic, value, b"?", partition=0, on_delivery=note)
    assert producer.flush(30) == 0


# --- tables that change ---------------------------------------------------------------------------


def test_tables_are_altered_while_rows_stream(crew: Crew, pytestconfig: pytest.Config) -> None:
    scene, database = crew.scene, crew.scene.job.database
    with measured(pytestconfig, "DDL while streaming", "columns added, widened") as found:
        with scene.load() as load:
            scene.catch_up()
            database.execute("ALTER TABLE titles ADD COLUMN festival VARCHAR(80) NULL")
            database.execute(
                "ALTER TABLE titles MODIFY name VARCHAR(300) NOT NULL, "
                "MODIFY total_budget DECIMAL(17,2), MODIFY running_time_minutes INT UNSIGNED"
            )
            database.execute("ALTER TABLE talent ADD COLUMN agency VARCHAR(40) NOT NULL DEFAULT ''")
            scene.catch_up()
        # Every row: one that keeps its old schema version has no such column.
        database.execute("UPDATE titles SET festival = CONCAT('Festival ', title_id)")
        database.execute("UPDATE talent SET agency = CONCAT('Agency ', talent_id)")
        found.recovery_s, found.changes = scene.catch_up(), load.changes
        scene.verify()
        assert all(worker.parked() == {} for worker in crew.workers.values())


# --- a full disk ----------------------------------------------------------------------------------


def test_the_workers_disk_is_full(crew: Crew, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Of its logs and of the audit's spool. Who needs no disk goes on all the while."""
    scene = crew.scene
    with (
        a_small_disk(tmp_path / "disk") as disk,
        measured(
            pytestconfig, "the workers' disk full", "tmpfs" if disk.is_real else "RLIMIT_FSIZE"
        ) as found,
    ):
        crew.stop()
        crew.rewrite("audit", spool_dir=str(disk.path))
        crew.hire(logs=disk.path)
        try:
            with scene.load() as load:
                scene.catch_up()
                with disk.full([pid for worker in crew.workers.values() for pid in worker.pids()]):
                    until(lambda: "cannot be written" in trouble(crew, "audit"), "the audit stops")
                    scene.catch_up(sinks=[sink for sink in SINKS if sink != "audit"])
                found.recovery_s = scene.catch_up()
            found.changes = load.changes
            scene.settle()
            scene.verify()
        finally:
            crew.end()
            crew.rewrite("audit", spool_dir=None)
            crew.hire()


def trouble(crew: Crew, sink: str) -> str:
    state = crew.state(sink)
    return state.last_error if state else ""


# --- very many at once ----------------------------------------------------------------------------


def test_one_transaction_of_very_many_rows(crew: Crew, pytestconfig: pytest.Config) -> None:
    """And each worker is killed in the middle of it."""
    scene, database = crew.scene, crew.scene.job.database
    count = ROWS_AT_ONCE_AT_MOST if is_whole_matrix(pytestconfig) else ROWS_AT_ONCE
    with measured(pytestconfig, "one transaction", f"{count:,} rows, workers killed") as found:
        scene.settle()
        crew.trap(dict.fromkeys(SINKS, "acknowledged"))
        database.execute(insert(count))
        crew.wait_until_back(crew.wait_until_hit(SINKS))
        found.recovery_s, found.changes = scene.catch_up(), count
        scene.verify()
        database.execute("DELETE FROM talent WHERE full_name LIKE 'extra %%'")
        scene.settle()
        scene.verify()


def insert(count: int) -> str:
    """One statement, so one transaction."""
    digits = " UNION ALL ".join(["SELECT 0 d", *(f"SELECT {digit}" for digit in range(1, 10))])
    number = " + ".join(f"{10**place} * d{place}.d" for place in range(6))
    tables = ", ".join(f"({digits}) d{place}" for place in range(6))
    return (
        "INSERT INTO talent (full_name, birth_date) "
        f"SELECT CONCAT('extra ', {number}), '1970-01-01' FROM {tables} WHERE {number} < {count}"
    )


# --- replayed, made anew: they change what can be compared, so they come last ---------------------


def test_everything_is_replayed(crew: Crew, pytestconfig: pytest.Config) -> None:
    """Search, audit and replica know what they have. Downstream each event comes again, under its
    UUID (docs/kafka.md).
    """
    scene = crew.scene
    with measured(pytestconfig, "records", "replayed from the beginning") as found:
        with scene.load() as load:
            crew.stop()
            set_back(crew)
            found.recovery_s = scene.catch_up()
        found.changes = load.changes
        scene.settle()
        scene.verify()


def test_a_topic_is_made_anew_with_lower_offsets(crew: Crew, pytestconfig: pytest.Config) -> None:
    """With a topic Kafka forgets a group's offsets: three stores read the new one from its
    beginning. The audit waits to be told (docs/operations.md). What the stores had they keep.
    """
    scene = crew.scene
    topic = scene.job.topic(REMADE)
    with measured(pytestconfig, "topic made anew", "lower offsets") as found:
        scene.settle()
        scene.stores.done.gone[topic] = places(scene.job.records([topic]))
        crew.stop()
        make_anew(scene, topic)
        with scene.load() as load:
            scene.job.wait_for_capture(is_supervised=True)
            crew.hire(are_ready=False)
            until(lambda: "is another topic" in trouble(crew, "audit"), "the audit says so")
            scene.catch_up(sinks=[sink for sink in SINKS if sink != "audit"])
            crew.stop()
            crew.rewrite("audit", generations={topic: 1})
            crew.hire()
        found.recovery_s, found.changes = scene.catch_up(), load.changes
        scene.verify()


def make_anew(scene: Scene, topic: str) -> None:
    job = scene.job
    state = job.kafka.describe([topic])[topic]
    job.connect.pause(job.name)
    until(lambda: is_paused(scene), "the connector is paused")
    admin = AdminClient({"bootstrap.servers": job.bootstrap})
    admin.delete_topics([topic])[topic].result(30)
    until(lambda: not job.kafka.describe([topic]), "the topic is gone")
    job.kafka.create([Topic(topic, state.partitions, state.replication_factor)])
    job.connect.resume(job.name)


def is_paused(scene: Scene) -> bool:
    status = scene.job.connect.status(scene.job.name)
    tasks = status.tasks if status else ()
    return bool(tasks) and all(task.state is State.PAUSED for task in tasks)
