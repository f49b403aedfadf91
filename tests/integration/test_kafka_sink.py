"""Downstream topics on a real broker: each event once, whatever dies, freezes or is refused."""

from __future__ import annotations

import hmac
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil
import pytest

from callsheet.delivery import Step
from tests.support.downstream import records
from tests.support.downstream_job import CHILD, DownstreamJob, Supervised
from tests.support.kafka import a_cluster, eventually
from tests.support.kafka_proxy import KafkaProxy


@pytest.fixture
def job(stack_env: dict[str, str], live_stack: object, tmp_path: Path) -> Iterator[DownstreamJob]:
    with a_cluster(stack_env) as cluster:
        topic, letters = cluster.topic(3), cluster.topic(suffix="letters")
        registry = stack_env["CALLSHEET_REGISTRY_URL"]
        made = DownstreamJob(cluster, tmp_path, registry, topic, letters)
        yield made
        if made.target in cluster.admin.list_topics(timeout=20).topics:
            cluster.made.append(made.target)


def test_killed_with_letters_in_its_transaction_each_of_them_is_seen_once(
    job: DownstreamJob, tmp_path: Path
) -> None:
    """The other crash points: tests/fault/test_every_store_worker.py."""
    step, number = Step.COMMITTING, 2
    job.change(300)
    job.spoil(9)
    job.change(300)
    marker = tmp_path / "died"
    command = [sys.executable, "-m", "tests.support.crashing_child", step, str(number), str(marker)]
    with Supervised(job, job.write(), command) as running:
        eventually(marker.exists, f"killed at {step.value}")
        job.change(100)
        job.check()
        assert running.states()[0].restarts == 1
    assert running.error is None


@pytest.mark.parametrize(("step", "number"), [(Step.WRITTEN, 3), (Step.COMMITTING, 1)])
def test_a_zombie_that_wakes_in_mid_transaction_adds_nothing(
    job: DownstreamJob, tmp_path: Path, step: Step, number: int
) -> None:
    """It freezes with a transaction open; another worker, of another name, takes its partitions
    over and finishes; then it wakes and goes on where it stood.
    """
    job.change(300)
    job.spoil(6)
    marker = tmp_path / "frozen"
    command = [sys.executable, "-m", "tests.support.freezing_child", step, str(number), str(marker)]
    first, second = job.write("first"), job.write("second", kafka={"instance_id": "second"})
    with Supervised(job, first, command):
        eventually(lambda: marker.exists() and marker.read_text(), "the first freezes")
        zombie = psutil.Process(int(marker.read_text()))
        eventually(lambda: zombie.status() == psutil.STATUS_STOPPED, "it is frozen")
        job.change(100)
        with Supervised(job, second):
            eventually(job.is_drained, "the second finishes")
            zombie.send_signal(signal.SIGCONT)
            job.change(300)
            eventually(
                lambda: len(job.cluster.groups.state(job.name).members) == 2, "both are members"
            )
            job.change(100)
            job.check()


def test_a_successor_of_the_same_name_fences_the_zombie(job: DownstreamJob, tmp_path: Path) -> None:
    job.change(300)
    marker = tmp_path / "frozen"
    command = [sys.executable, "-m", "tests.support.freezing_child", "written", "3", str(marker)]
    file = job.write()
    with Supervised(job, file, command) as first:
        eventually(lambda: marker.exists() and marker.read_text(), "the first freezes")
        zombie = psutil.Process(int(marker.read_text()))
        with Supervised(job, file):
            eventually(job.is_drained, "its successor finishes")
        zombie.send_signal(signal.SIGCONT)
        job.change(300)
        job.check()
        assert "taken over" in first.states()[0].last_error


def test_random_kills_lose_nothing_and_repeat_nothing(job: DownstreamJob) -> None:
    random, stop = Random(5), threading.Event()

    def busy() -> None:
        while not stop.wait(0.05):
            job.change(60)

    source = threading.Thread(target=busy)
    with Supervised(job, job.write(), CHILD, workers=2):
        source.start()
        try:
            for _ in range(5):
                eventually(lambda: len(children()) == 2, "both workers run")
                stop.wait(random.uniform(0.5, 3.0))
                victim = random.choice(children())
                with suppress(ProcessLookupError):
                    os.kill(victim.pid, signal.SIGKILL)
                eventually(lambda v=victim: not v.is_running(), "it is dead")  # type: ignore[misc]
        finally:
            stop.set()
            source.join()
        job.spoil(3)
        job.check()


def test_a_frozen_broker_neither_hangs_the_worker_nor_loses_or_repeats(job: DownstreamJob) -> None:
    """For longer than the session and than any budget, with a transaction open."""
    host, _, port = job.cluster.connection.bootstrap_servers.rpartition(":")
    with KafkaProxy((host, int(port))) as proxy:
        file = job.write(
            kafka={"bootstrap_servers": proxy.address},
            dead_letters={"budget_seconds": 3},
            delivery={"commit_interval_seconds": 1},
        )
        job.change(300)
        with Supervised(job, file) as running:
            eventually(job.is_drained, "the first events")
            job.change(200)
            proxy.freeze()
            eventually(
                lambda: not job.cluster.groups.state(job.name).members, "the session has ended"
            )
            assert running.states()[0].is_live
            proxy.thaw()
            job.change(100)
            job.check()
            assert running.states()[0].restarts == 0


def children() -> list[psutil.Process]:
    """Of this process, those that are workers."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if "callsheet.child" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


def test_the_pipelines_own_topics_are_never_written_to(job: DownstreamJob) -> None:
    job.change(10)
    file = job.write(sink={"routes": {"finance.titles": job.topic}})
    with Supervised(job, file) as running:
        eventually(lambda: "reads itself" in running.states()[0].last_error, "it is refused")
    assert len(job.cluster.groups.committed(job.name)) == 0


def test_what_a_field_rule_hides_never_leaves(
    job: DownstreamJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in values, keys or headers; what stands there instead is the hash that it ought to be."""
    secret = "a key of thirty-two letters, or more"
    monkeypatch.setenv("CALLSHEET_HASH_KEY", secret)
    rules = {
        "hash_key": "${env:CALLSHEET_HASH_KEY}",
        "tables": [{"table": "finance.titles", "hash": ["name"]}],
    }
    job.change(200)
    with Supervised(job, job.write(fields=rules)) as running:
        eventually(job.is_drained, "everything is committed")
    assert running.error is None
    address = job.cluster.connection.bootstrap_servers
    values = [message.value() or b"" for message in records(address, job.target)]
    rest = [(message.key(), message.headers()) for message in records(address, job.target)]
    hashes = [
        hmac.digest(secret.encode(), name.encode(), "sha256").hex().encode() for name in job.changes
    ]
    assert len(values) == len(hashes) == 200
    assert sorted(h for h in hashes if any(h in value for value in values)) == sorted(hashes)
    assert all(b"name " not in value for value in values)
    assert "name " not in repr(rest)
