from __future__ import annotations

import json
from pathlib import Path

import pytest

from callsheet.errors import ConfigError, Fault, UsageError
from connectors.files import load, load_all
from connectors.models import JSON
from tests.unit.connectors.builders import FINANCE, FOLDER, a_connector, write_connector


def faults_of(path: Path) -> dict[str, Fault]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return {fault.path: fault for fault in caught.value.faults}


def test_the_repositorys_connectors_are_valid() -> None:
    (finance,) = load_all([FOLDER])
    assert finance.name == "finance-mysql"
    assert finance.config["decimal.handling.mode"] == "precise"


def test_the_json_variant_is_valid(tmp_path: Path) -> None:
    variant = json.loads((FOLDER / "finance-mysql-json.json.example").read_text())
    path = tmp_path / f"{variant['name']}.json"
    path.write_text(json.dumps(variant))
    config = load(path).config
    assert config["value.converter"] == JSON
    assert config["decimal.handling.mode"] == "string"


def test_every_fault_at_once_each_with_its_line(tmp_path: Path) -> None:
    path = write_connector(
        tmp_path,
        {
            "decimal.handling.mode": "double",
            "poll.interval.ms": "500",
            "tombstones.on.delete": False,
            "exactly.once.support": None,
            "database.password": "hunter2",
            "topic.creation.default.partitions": 3,
        },
    )
    faults = faults_of(path)
    assert set(faults) == {
        "decimal.handling.mode",
        "poll.interval.ms",
        "tombstones.on.delete",
        "exactly.once.support",
        "database.password",
        "topic.creation.default.partitions",
    }
    lines = path.read_text().splitlines()
    for name, fault in faults.items():
        if name != "exactly.once.support":
            assert name in lines[fault.line - 1], fault
    assert "missing for good" in faults["exactly.once.support"].message
    assert not any("hunter2" in str(fault) for fault in faults.values())


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("connector.class", "io.debezium.connector.postgresql.PostgresConnector", "must be"),
        ("tasks.max", "2", "one task"),
        ("database.server.id", "0", "at least 1"),
        ("database.server.id", None, "must be set"),
        ("topic.prefix", "stu dio", "must have the form"),
        ("snapshot.mode", "when_needed", "no deletes"),
        ("heartbeat.interval.ms", "0", "progress"),
        ("heartbeat.action.query", None, "must be set"),
        ("heartbeat.action.query", "UPDATE finance.callsheet_heartbeat SET id = 1", "for ever"),
        ("connect.keep.alive", "false", "idle source"),
        ("connect.keep.alive.interval.ms", "500", "stall"),
        ("signal.data.collection", None, "must be set"),
        ("bigint.unsigned.handling.mode", "long", "negative"),
        ("binary.handling.mode", "base64", "raw bytes"),
        ("time.precision.mode", "connect", "microseconds"),
        ("column.propagate.source.type", None, "must be set"),
        ("read.only", "true", "older content"),
        ("skipped.operations", "t", "TRUNCATE"),
        ("callsheet.datetime.zone", "Mars/Olympus", "by whose clock"),
        ("provide.transaction.metadata", "false", "identity"),
        ("include.schema.changes", "false", "DDL"),
        ("event.processing.failure.handling.mode", "skip", "loses"),
        ("inconsistent.schema.handling.mode", "warn", "loses"),
        ("schema.history.internal.skip.unparseable.ddl", "true", "misreads"),
        ("exactly.once.support", "requested", "missing for good"),
        ("transaction.boundary", "interval", "latency"),
        ("errors.tolerance", "all", "drops"),
        ("errors.log.include.messages", "true", "log"),
        ("value.converter", "org.apache.kafka.connect.storage.StringConverter", "Avro and JSON"),
        ("key.converter.schema.registry.url", None, "must be set"),
        ("schema.name.adjustment.mode", "none", "fail the task"),
    ],
)
def test_each_rule_names_its_reason(
    tmp_path: Path, setting: str, value: str | None, said: str
) -> None:
    faults = faults_of(write_connector(tmp_path, {setting: value}))
    assert said in faults[setting].message


def test_a_default_of_debezium_that_is_right_need_not_be_stated(tmp_path: Path) -> None:
    file = a_connector(tmp_path, {"tombstones.on.delete": None, "errors.tolerance": None})
    assert "tombstones.on.delete" not in file.config


def test_json_and_avro_must_not_be_mixed(tmp_path: Path) -> None:
    faults = faults_of(write_connector(tmp_path, {"value.converter": JSON}))
    assert "same as value.converter" in faults["key.converter"].message
    assert "strings" in faults["decimal.handling.mode"].message
    assert "whole schema" in faults["value.converter.schemas.enable"].message
    assert "base64" in faults["value.converter.decimal.format"].message


@pytest.mark.parametrize(
    "setting",
    ["database.ssl.keystore.password", "producer.override.sasl.jaas.config",
     "value.converter.schema.registry.basic.auth.user.info"],
)  # fmt: skip
@pytest.mark.parametrize("value", ["hunter2", "x${env:CALLSHEET_CAPTURE_PASSWORD}"])
def test_secrets_in_clear_are_refused(tmp_path: Path, setting: str, value: str) -> None:
    fault = faults_of(write_connector(tmp_path, {setting: value}))[setting]
    assert "${env:" in fault.message
    assert "hunter2" not in str(fault)


@pytest.mark.parametrize("value", ["${env:CALLSHEET_X}", "${file:/run/secrets/db:password}"])
def test_references_to_secrets_are_welcome(tmp_path: Path, value: str) -> None:
    assert a_connector(tmp_path, {"database.password": value})


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('{\n "name": "x",\n "config": {,}\n}', 3, "property name"),
        ('{"name": "x", "config": {"a": "1",\n"a": "2"}}', 2, "duplicate key"),
        ("[]", 1, "must be a mapping"),
        ('{"name": "x",\n "config": {"a": null}}', 2, "string, a number or a boolean"),
        ('{"name": "x", "config": {},\n "extra": 1}', 2, "is not allowed"),
        ('{"name": "x",\n "config": []}', 2, "object of settings"),
    ],
)
def test_a_file_of_the_wrong_shape(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert any(f.line == line and said in f.message for f in caught.value.faults), [
        str(f) for f in caught.value.faults
    ]


def test_a_file_is_named_after_its_connector(tmp_path: Path) -> None:
    path = write_connector(tmp_path).rename(tmp_path / "other.json")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert "finance-mysql.json" in str(caught.value.faults[0])


def test_two_connectors_must_not_share_an_identity(tmp_path: Path) -> None:
    write_connector(tmp_path)
    write_connector(tmp_path, name="second")
    with pytest.raises(ConfigError) as caught:
        load_all([tmp_path])
    assert {fault.path for fault in caught.value.faults} == {
        "database.server.id",
        "topic.prefix",
        "schema.history.internal.kafka.topic",
    }


def test_faults_of_all_files_come_together(tmp_path: Path) -> None:
    write_connector(tmp_path, {"poll.interval.ms": "500"}, "one")
    write_connector(tmp_path, {"tasks.max": "4"}, "two")
    with pytest.raises(ConfigError) as caught:
        load_all([tmp_path])
    assert {Path(fault.file).name for fault in caught.value.faults} == {"one.json", "two.json"}


def test_missing_paths_and_empty_folders_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load_all([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="no connector file") as raised:
        load_all([tmp_path])
    assert "NAME.json" in raised.value.hint


def test_scalars_are_compared_as_connect_stores_them(tmp_path: Path) -> None:
    file = a_connector(tmp_path, {"poll.interval.ms": 10, "tombstones.on.delete": True})
    assert file.config["poll.interval.ms"] == "10"
    assert file.config["tombstones.on.delete"] == "true"


def test_the_file_is_what_curl_can_post() -> None:
    assert set(json.loads(FINANCE.read_text())) == {"name", "config"}
