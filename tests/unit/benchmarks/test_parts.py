"""The parts of the benchmarks that need no server."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from benchmarks import films
from benchmarks.bulk_runs import Contender, contenders_of
from benchmarks.ceiling import Corpus, bulk_lines
from benchmarks.films import Films, Wire, connector_config
from benchmarks.mixed import batch_counts
from benchmarks.replay import record
from benchmarks.servers.plain_connect import plain
from callsheet.errors import FatalError
from tests.support.envelopes import FakeMessage


class TestContenders:
    def test_a_single_benchmark_runs_alone(self) -> None:
        assert contenders_of(frozenset({"bulk-avro"})) == (Contender.AVRO,)

    def test_the_ceiling_follows_the_worker_whose_documents_it_sends(self) -> None:
        found = contenders_of(frozenset({"ceiling"}))
        assert found == (Contender.JSON, Contender.CEILING, Contender.AVRO)

    def test_others_share_nothing(self) -> None:
        assert contenders_of(frozenset({"soak"})) == ()


class TestCeiling:
    def test_a_document_travels_with_its_external_version(self) -> None:
        lines = bulk_lines({"_id": 'a"b', "_version": 7, "_source": {"name": "é"}})
        action, source = lines.splitlines()
        assert orjson.loads(action) == {
            "index": {"_id": 'a"b', "version_type": "external", "version": 7}
        }
        assert orjson.loads(source) == {"name": "é"}

    def test_bodies_hold_every_line_once(self) -> None:
        lines = [b"%d\n" % number for number in range(10)]
        bodies = Corpus(lines, {}).bodies(4)
        assert [body.count(b"\n") for body in bodies] == [4, 4, 2]
        assert b"".join(bodies) == b"".join(lines)


class TestFilms:
    def test_every_film_of_the_file_is_a_row_of_the_table(self) -> None:
        rows = films.base_rows()
        columns = [line for line in films.COLUMNS.splitlines() if line.strip()]
        assert len(rows) == 3201
        assert {len(row) for row in rows} == {len(columns)}
        assert [row[0] for row in rows] == list(range(1, 3202))

    def test_the_table_has_what_the_bounds_were_set_for(self) -> None:
        assert films.COLUMNS.count("DECIMAL(15,2)") == 3
        assert "DATE " in films.COLUMNS
        assert "DATETIME(6)" in films.COLUMNS

    @pytest.mark.parametrize("wire", Wire)
    def test_the_connector_writes_nothing_and_signals_nothing(self, wire: Wire) -> None:
        config = connector_config(Films(wire, 10))
        assert config["table.include.list"] == "bench.films_10"
        assert config["exactly.once.support"] == "required"
        assert config["producer.override.compression.type"] == "lz4"
        assert not [key for key in config if key.startswith(("heartbeat.", "signal."))]

    def test_json_has_no_schemas_and_exact_money(self) -> None:
        config = connector_config(Films(Wire.JSON, 10))
        assert config["value.converter.schemas.enable"] == "false"
        assert config["decimal.handling.mode"] == "string"


class TestMixed:
    METRICS = """\
# TYPE callsheet_batch_events histogram
callsheet_batch_events_bucket{le="1.0"} 3.0
callsheet_batch_events_count 5.0
callsheet_batch_events_sum 21.0
"""

    def test_batches_and_rows_are_read_off_the_histogram(self) -> None:
        assert batch_counts(self.METRICS) == {"batches": 5.0, "rows": 21.0}

    def test_several_workers_are_added(self) -> None:
        text = (
            'callsheet_batch_events_count{worker="0"} 5.0\n'
            'callsheet_batch_events_count{worker="1"} 7.0\n'
            'callsheet_batch_events_sum{worker="0"} 10.0\n'
            'callsheet_batch_events_sum{worker="1"} 10.0\n'
        )
        assert batch_counts(text) == {"batches": 12.0, "rows": 20.0}

    def test_a_worker_that_says_nothing_is_no_zero(self) -> None:
        with pytest.raises(FatalError):
            batch_counts("up 1\n")


def test_the_plain_connect_worker_is_another_group_without_transactions() -> None:
    stack = (
        "bootstrap.servers=127.0.0.1:1\ngroup.id=connect\nlisteners=http://127.0.0.1:2\n"
        "config.storage.topic=configs\noffset.storage.topic=offsets\nstatus.storage.topic=status\n"
        "exactly.once.source.support=enabled\n# a comment\n"
    )
    assert plain(stack, "http://127.0.0.1:3").splitlines() == [
        "bootstrap.servers=127.0.0.1:1",
        "group.id=connect-plain",
        "listeners=http://127.0.0.1:3",
        "config.storage.topic=configs-plain",
        "offset.storage.topic=offsets-plain",
        "status.storage.topic=status-plain",
        "exactly.once.source.support=disabled",
        "# a comment",
    ]


@dataclass(frozen=True, slots=True)
class Timed(FakeMessage):
    at_ms: int = 0

    def timestamp(self) -> tuple[int, int]:
        return 1, self.at_ms


def test_a_replay_is_merged_by_time_and_partitions_keep_their_order() -> None:
    topics = {
        "p.a": [Timed(b"%d" % n, topic_="p.a", at_ms=at) for n, at in enumerate((5, 5, 9))],
        "p.b": [Timed(b"v", topic_="p.b", partition_=1, at_ms=at) for at in (1, 7)],
    }
    kafka: Any = SimpleNamespace(messages=lambda topic: iter(topics[topic]))
    found = record(kafka, ["p.a", "p.b"])
    assert [(each.table, each.timestamp_ms) for each in found] == [
        ("b", 1), ("a", 5), ("a", 5), ("b", 7), ("a", 9),
    ]  # fmt: skip
    assert [each.value for each in found if each.table == "a"] == [b"0", b"1", b"2"]
