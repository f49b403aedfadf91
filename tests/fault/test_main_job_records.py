"""Records that nobody can deliver, between those that everybody needs: put aside whole."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import fastavro
import httpx
import pytest
from confluent_kafka import Message, Producer

from callsheet.errors import Reason
from callsheet.kafka.dead_letters import PREFIX, original_place
from finance.database import Role
from finance.tables import TALENT, TITLES
from stack import Stack
from tests.support.main_job import MainJob, a_main_job
from tests.support.main_job_files import Pipeline
from tests.support.polling import until
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

MIB = 1 << 20
OVERSIZE = 17 * MIB
HEADERS: list[tuple[str, str | bytes | None]] = [
    ("trace", b"\x00\xff"), ("empty", b""), ("none", None),
]  # fmt: skip
STRANGER = {"type": "record", "name": "Stranger", "fields": [{"name": "word", "type": "string"}]}


@dataclass(slots=True)
class Running:
    job: MainJob
    pipeline: Pipeline
    worker: WorkerProcess
    produced: dict[tuple[str, int, int], tuple[Reason, bytes, bytes | None]] = field(
        default_factory=dict
    )
    """What was put into the log, by topic, partition and offset."""

    @property
    def topic(self) -> str:
        return self.job.topic("titles")


@pytest.fixture(scope="module")
def running(live_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with a_main_job(live_stack, tmp_path_factory.mktemp("main_job_records")) as job:
        job.database.load()
        job.start_capture()
        pipeline = job.pipeline(dead_letters={"max_message_bytes": 32 * MIB})
        job.kafka.alter(job.topic("titles"), {"max.message.bytes": str(32 * MIB)})
        yield Running(job, pipeline, job.start(pipeline, "--log-level", "debug"))


def spoiled(
    real: Message, other: Message, stranger: bytes
) -> list[tuple[Reason, bytes, bytes | None]]:
    """Reason, value and key of each kind of record that cannot be delivered."""
    value, key = bytes(real.value() or b""), bytes(real.key() or b"")
    unknown = b"\x00" + (2**31 - 7).to_bytes(4, "big")
    return [
        (Reason.MALFORMED, b"", key),
        (Reason.MALFORMED, b"\x00\x01", key),
        (Reason.MALFORMED, b"\xff" * 40, b"\xff"),
        (Reason.MALFORMED, value[:-3], key),
        (Reason.MALFORMED, value + b"\x00\x00", key),
        (Reason.MALFORMED, value + value, key),
        (Reason.UNKNOWN_SCHEMA, unknown + value[5:], key),
        (Reason.SCHEMALESS, b'{"op": "c", "after": {"title_id": 1}}', key),
        (Reason.FOREIGN, stranger, key),
        (Reason.MISSING_KEY, value, None),
        (Reason.KEY_MISMATCH, value, bytes(other.key() or b"")),
        (Reason.OVERSIZE, b"\x00" * OVERSIZE, key),
    ]


def a_stranger(job: MainJob) -> bytes:
    """Sound Avro of a schema that the registry knows, and no change of a row."""
    answer = httpx.post(
        f"{job.environ['CALLSHEET_REGISTRY_URL']}/subjects/{job.name}-stranger/versions",
        json={"schema": json.dumps(STRANGER)}, trust_env=False, timeout=30,
    )  # fmt: skip
    answer.raise_for_status()
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(STRANGER), {"word": "hello"})
    return b"\x00" + int(answer.json()["id"]).to_bytes(4, "big") + body.getvalue()


def test_each_is_put_aside_with_all_it_had_and_the_rest_flows(running: Running) -> None:
    job = running.job
    job.wait_until_in_sync(running.pipeline)
    real, other, *_ = (m for m in job.records([running.topic]) if m.value() is not None)
    producer = Producer(
        {"bootstrap.servers": job.bootstrap, "message.max.bytes": 30 * MIB, "log_level": 0}
    )
    for number, (reason, value, key) in enumerate(spoiled(real, other, a_stranger(job))):

        def note(
            error: object,
            message: Message,
            kept: tuple[Reason, bytes, bytes | None] = (reason, value, key),
        ) -> None:
            assert error is None, error
            place = str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)
            running.produced[place] = kept

        producer.produce(
            running.topic, value=value, key=key, headers=HEADERS, partition=number % 4,
            on_delivery=note,
        )  # fmt: skip
        job.simulate(25, seed=40 + number)  # real changes before, between and after
    assert producer.flush(30) == 0
    job.wait_until_in_sync(running.pipeline)
    job.assert_equal(running.pipeline)

    letters = {original_place(headers_of(m)): m for m in job.dead_letters(running.pipeline)}
    assert letters.keys() == running.produced.keys()
    for place, (reason, value, key) in running.produced.items():
        letter = letters[place]
        assert (letter.value(), letter.key()) == (value, key), reason
        assert list(letter.headers() or ())[: len(HEADERS)] == HEADERS, reason
        assert headers_of(letter)[f"{PREFIX}reason"] == reason.value.encode()
        assert headers_of(letter)[f"{PREFIX}detail"], reason


def headers_of(message: Message) -> dict[str, bytes | None]:
    return dict(cast("list[tuple[str, bytes | None]]", message.headers() or []))


def test_the_letters_are_in_the_books(running: Running) -> None:
    records = running.job.records(running.pipeline.topics)
    counters = running.worker.counters
    until(lambda: counters().of("consumed") == len(records), "all was counted")
    until(lambda: counters().missing == 0, "the conservation law holds")
    counted = counters()
    reasons = [reason for reason, _, _ in running.produced.values()]
    assert counted.of("dead_lettered") == len(reasons) > 0
    for reason in Reason:
        assert counted.by("dead_lettered", reason.value) == reasons.count(reason)


def test_no_log_tells_a_secret_or_what_a_row_says(running: Running) -> None:
    """Of the worker, at DEBUG, after all that; of the servers, what they were started with."""
    job = running.job
    secrets = {name: job.environ[name] for name in job.environ if name.endswith("_PASSWORD")}
    assert len(secrets) >= 4
    for log in (running.worker.log, *(job.stack.log(s) for s in ("connect", "kafka", "registry"))):
        text = log.read_text("utf-8", "replace")
        told = [name for name, secret in secrets.items() if secret in text]
        assert told == [], log.name
    text = running.worker.log.read_text("utf-8", "replace")
    with job.database.engine(Role.READER).connect() as connection:
        people = connection.execute(TALENT.select()).mappings().all()
        films = connection.execute(TITLES.select()).mappings().all()
    words = {row[name] for row in people for name in ("full_name", "email", "phone", "tax_number")}
    words |= {row["name"] for row in films if len(row["name"]) > 8}
    # Not the word itself in the message: this log is read as well.
    assert sum(word in text for word in words if word) == 0
