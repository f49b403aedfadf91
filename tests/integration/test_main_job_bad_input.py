"""What a user may get wrong: one clear sentence each, its own exit code, never a traceback."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from stack import Stack
from tests.support.main_job import MainJob, a_main_job
from tests.support.main_job_files import CHECKOUT

USAGE, UNAVAILABLE, PRECONDITION, CONFIG = 2, 69, 75, 78

WRONG = """\
name: Search Films
source:
  format: xml
  topics: [studio.finance.titles]
  topic: studio.finance.talent
kafka:
  bootstrap_servers: ${env:NOWHERE_SET}
  properties:
    enable.auto.commit: true
delivery:
  poll_events: 0
sink:
  type: elasticsearch
  hosts: [elastic:9200]
  index: films
  password: open-sesame
"""
FAULTS = {
    # line: what it must name
    1: "name",
    3: "source.format",
    5: "source.topic",
    7: "NOWHERE_SET",
    9: "enable.auto.commit",
    11: "delivery.poll_events",
    14: "sink.hosts",
    15: "sink.index",
    16: "sink.password",
}


@pytest.fixture(scope="module")
def job(live_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MainJob]:
    """Nothing captures it, until a test does."""
    with a_main_job(live_stack, tmp_path_factory.mktemp("main_job_bad"), tables=("odd",)) as job:
        yield job


def refused(job: MainJob, arguments: Sequence[str], code: int, **variables: str) -> str:
    """What the command says on stderr, having ended with that code."""
    done = subprocess.run(
        [sys.executable, "-m", "callsheet.cli", *arguments],
        cwd=CHECKOUT, env={**job.environ, **variables}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    for name, secret in job.environ.items():
        assert not name.endswith("_PASSWORD") or secret not in said, name
    return said


def faults_in(said: str, file: Path) -> dict[int, str]:
    found = re.findall(rf"{re.escape(str(file))}:(\d+): (.*)", said)
    return {int(line): text for line, text in found}


@pytest.mark.parametrize("command", [("run",), ("run", "--dry-run"), ("validate",)])
def test_every_fault_of_a_pipeline_file_is_told_at_once(
    job: MainJob, command: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(WRONG)
    said = refused(job, [*command, str(file)], CONFIG)
    found = faults_in(said, file)
    assert found.keys() == FAULTS.keys(), said
    for line, name in FAULTS.items():
        assert name in found[line]
    assert "open-sesame" not in said
    assert "avro" in found[3], "what is allowed is told"


def test_a_file_that_is_no_yaml_names_the_place(job: MainJob, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("name: a\nsource: [b\n")
    assert f"{file}:" in refused(job, ["run", str(file)], CONFIG)
    assert str(tmp_path / "none.yaml") in refused(job, ["run", str(tmp_path / "none.yaml")], CONFIG)


def test_a_taken_port_is_named(job: MainJob) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        pipeline = job.pipeline("taken", http={"port": port})
        said = refused(job, ["run", str(pipeline.path)], PRECONDITION)
    assert f"127.0.0.1:{port}" in said
    assert "--http" in said


def test_a_table_without_a_primary_key_is_refused_by_name(job: MainJob) -> None:
    file = job.write_connector()
    job.database.execute("CREATE TABLE odd (amount INT)")
    try:
        said = refused(job, ["connectors", "apply", str(file)], PRECONDITION)
        assert f"{job.database.name}.odd" in said
        assert "primary key" in said
        assert job.connect.config(job.name) is None, "nothing was changed"
        assert job.kafka.describe([job.topic("titles")]) == {}
    finally:
        job.database.execute("DROP TABLE odd")


@pytest.mark.parametrize(("setting", "wrong", "right"), [("binlog_row_image", "MINIMAL", "FULL")])
def test_a_mysql_that_logs_too_little_is_refused(
    job: MainJob, setting: str, wrong: str, right: str
) -> None:
    file = job.write_connector()
    job.database.execute("CREATE TABLE odd (id INT PRIMARY KEY)")
    job.database.execute(f"SET GLOBAL {setting} = '{wrong}'")
    try:
        said = refused(job, ["connectors", "apply", str(file)], PRECONDITION)
        assert setting in said
        assert right in said
        doctor = refused(job, ["connectors", "preflight", str(file)], PRECONDITION)
        assert setting in doctor
        assert job.connect.config(job.name) is None
    finally:
        job.database.execute(f"SET GLOBAL {setting} = '{right}'")
        job.database.execute("DROP TABLE odd")


def test_every_fault_of_a_connector_file_is_told_at_once(job: MainJob) -> None:
    file = job.write_connector()
    document = json.loads(file.read_text())
    document["config"] |= {"snapshot.mode": "when_needed", "database.password": "open-sesame"}
    del document["config"]["heartbeat.action.query"]
    file.write_text(json.dumps(document, indent=2))
    said = refused(job, ["connectors", "apply", str(file)], CONFIG)
    for setting in ("snapshot.mode", "database.password", "heartbeat.action.query"):
        assert setting in said
    assert "open-sesame" not in said
    line = next(
        number
        for number, text in enumerate(file.read_text().splitlines(), 1)
        if '"snapshot.mode"' in text
    )
    assert f"{file}:{line}" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "variable", "address", "named"),
    [
        ("offsets show", "CALLSHEET_KAFKA_BOOTSTRAP", "127.0.0.1:1", "Kafka at 127.0.0.1:1"),
        ("connectors status", "CALLSHEET_CONNECT_URL", "http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("load", "CALLSHEET_MYSQL_PORT", "1", "MySQL at 127.0.0.1:1"),
        ("search x", "CALLSHEET_ELASTICSEARCH_URL", "http://127.0.0.1:1", "Elasticsearch"),
    ],
)
def test_a_server_that_is_away_is_named(
    job: MainJob, command: str, variable: str, address: str, named: str
) -> None:
    pipeline = job.pipeline("away")
    arguments = [*command.split(), *([str(pipeline.path)] if command.startswith("offsets") else [])]
    said = refused(job, arguments, UNAVAILABLE, **{variable: address})
    assert named in said
    assert "hint:" in said


def test_a_replay_to_nowhere_is_a_wrong_usage(job: MainJob) -> None:
    pipeline = job.pipeline("nowhere")
    said = refused(job, ["offsets", "reset", str(pipeline.path), "--to", "yesterday"], USAGE)
    assert "yesterday" in said
    assert "earliest" in said
