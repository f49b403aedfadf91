"""The benchmarks write pipeline files: they must be such as a user could write."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import destinations, pipelines
from benchmarks.capture import Capture
from benchmarks.films import Films, Wire
from callsheet.codec.declared import declared_schema
from callsheet.codec.layout import layout_of
from callsheet.config.loading import load
from callsheet.schema import Kind
from sinks import plugin
from tests.support.envelopes import decimal, envelope_schema, nullable

ENVIRONMENT = {
    "CALLSHEET_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "CALLSHEET_REGISTRY_URL": "http://127.0.0.1:2",
    "CALLSHEET_ELASTICSEARCH_URL": "http://127.0.0.1:3",
}


def some_servers(tmp_path: Path) -> Any:
    return SimpleNamespace(scratch=tmp_path, environment=ENVIRONMENT)


def test_the_films_run_with_the_defaults(tmp_path: Path) -> None:
    pipeline = pipelines.for_films(some_servers(tmp_path), Films(Wire.AVRO, 10))
    found = load(pipeline.path, ENVIRONMENT, plugin)
    sink: Any = found.sink
    assert found.settings.source.topics == (Films(Wire.AVRO, 10).topic,)
    assert found.settings.group_id == pipeline.group
    assert found.settings.dead_letter_topic == pipeline.dead_letters
    assert found.settings.delivery == type(found.settings.delivery)()
    assert (sink.shards, sink.refresh_interval_seconds, sink.refresh) == (1, 1, "interval")


def test_the_finance_tables_are_read_together(tmp_path: Path) -> None:
    capture = Capture("x", 1, exactly_once=True)
    pipeline = pipelines.for_finance(some_servers(tmp_path), capture, refresh="adaptive")
    found = load(pipeline.path, ENVIRONMENT, plugin)
    sink: Any = found.sink
    assert len(found.settings.source.topics) == 7
    assert sink.refresh == "adaptive"
    assert pipeline.index("titles") == f"{pipeline.name}-titles"
    assert pipeline.indices == f"{pipeline.name}-**"


def test_no_two_pipelines_share_a_group_or_an_index(tmp_path: Path) -> None:
    servers, data = some_servers(tmp_path), Films(Wire.AVRO, 10)
    first, second = (pipelines.for_films(servers, data) for _ in range(2))
    assert first.group != second.group
    assert first.indices != second.indices


def test_the_declared_schema_keeps_money_exact() -> None:
    told = {"type": "DECIMAL", "length": "15", "scale": "2"}
    source_type = {f"__debezium.source.column.{key}": value for key, value in told.items()}
    money = decimal(15, 2)
    money["connect.parameters"] |= source_type
    schema = envelope_schema({"film_id": "long", "us_gross": nullable(money)})
    declared = declared_schema(pipelines.declared_text(schema))
    assert declared.key == ("film_id",)
    columns = {f.column.name: f for f in layout_of(declared.tree, declared.key).fields}
    gross = columns["us_gross"]
    assert (gross.wire, gross.column.kind) == ("string", Kind.DECIMAL)
    assert (gross.column.precision, gross.column.scale) == (15, 2)


def test_every_destination_is_a_pipeline_file(tmp_path: Path) -> None:
    environment = ENVIRONMENT | {
        "CALLSHEET_MYSQL_HOST": "127.0.0.1",
        "CALLSHEET_MYSQL_PORT": "4",
        "CALLSHEET_MYSQL_ADMIN_USER": "root",
        "CALLSHEET_MYSQL_ADMIN_PASSWORD": "secret",
    }
    servers: Any = SimpleNamespace(
        scratch=tmp_path, environment=environment, elastic=None, kafka=None
    )
    for destination in destinations.all_of(servers):
        pipeline = pipelines.into(servers, destination.name, ["a.films"], destination.block)
        found = load(pipeline.path, environment, plugin)
        assert found.plugin.name == destination.name
        assert found.settings.kafka.instance_id == pipeline.name
