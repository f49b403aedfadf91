from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from callsheet.config.loading import Pipeline, config_dir_of, load, load_core
from callsheet.errors import ConfigError, Fault
from callsheet.limits import TruncatePolicy
from callsheet.sink import SinkPlugin

GOOD = """\
name: search
source:
  format: json
  topics: [studio.finance.titles]
kafka:
  bootstrap_servers: localhost:1
sink:
  type: memory
  capacity_events: 5
"""


class MemorySettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    capacity_events: int = Field(ge=1)
    token: SecretStr | None = None


def plugins(name: str) -> SinkPlugin:
    if name != "memory":
        raise ConfigError(f"there is no sink {name!r}", hint="sinks on this machine: memory")

    def build(settings: Any, context: Any) -> Any:
        raise AssertionError("nothing is built by loading")

    return SinkPlugin("memory", MemorySettings, build)


Load = Callable[..., Pipeline]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    def of(text: str, env: Mapping[str, str] | None = None) -> Pipeline:
        file = tmp_path / "p.yaml"
        file.write_text(text)
        return load(file, env or {}, plugins)

    return of


def faults(loaded: Load, text: str, env: Mapping[str, str] | None = None) -> list[Fault]:
    with pytest.raises(ConfigError) as caught:
        loaded(text, env)
    assert caught.value.exit_code == 78
    return list(caught.value.faults)


def told(loaded: Load, text: str, env: Mapping[str, str] | None = None) -> list[tuple[int, str]]:
    return [(fault.line, fault.path) for fault in faults(loaded, text, env)]


def test_a_good_file(loaded: Load) -> None:
    found = loaded(GOOD)
    assert found.name == "search"
    assert found.settings.group_id == "callsheet-search"
    assert found.settings.dead_letter_topic == "search.dead-letters"
    assert found.settings.source.subscription() == ("studio.finance.titles",)
    assert found.settings.truncate is TruncatePolicy.PARK
    assert found.sink == MemorySettings(capacity_events=5)


def test_a_pattern_subscribes_as_the_client_wants_it(loaded: Load) -> None:
    text = GOOD.replace("topics: [studio.finance.titles]", "topics_pattern: studio[.]finance[.].*")
    assert loaded(text).settings.source.subscription() == ("^studio[.]finance[.].*",)


BAD = """\
nam: x
name: Search
source:
  format: xml
  topics: [a b]
  registri: {url: x}
kafka:
  bootstrap_servers: ${env:NOWHERE}
  properties:
    enable.auto.commit: true
    sasl.password: hunter2
delivery:
  poll_event: 3
  in_hand_events: lots
truncate: drop
http: {port: 99999}
sink:
  type: memory
  capacity: 1
  token: hunter2
"""


def test_every_fault_is_told_at_once_with_its_line(loaded: Load) -> None:
    assert told(loaded, BAD) == [
        (1, "nam"),
        (2, "name"),
        (4, "source.format"),
        (5, "source.topics"),
        (6, "source.registri"),
        (8, "kafka.bootstrap_servers"),
        (10, "kafka.properties.enable.auto.commit"),
        (11, "kafka.properties.sasl.password"),
        (13, "delivery.poll_event"),
        (14, "delivery.in_hand_events"),
        (15, "truncate"),
        (16, "http.port"),
        (17, "sink.capacity_events"),
        (19, "sink.capacity"),
        (20, "sink.token"),
    ]


def test_a_fault_says_what_is_allowed_and_shows_no_secret(loaded: Load) -> None:
    by_path = {fault.path: fault.message for fault in faults(loaded, BAD)}
    assert "did you mean name?" in by_path["nam"]
    assert "allowed: dead_letters, delivery, fields, http" in by_path["nam"]
    assert "did you mean registry?" in by_path["source.registri"]
    assert "did you mean poll_events?" in by_path["delivery.poll_event"]
    assert by_path["source.format"] == "must be 'avro' or 'json'"
    assert by_path["truncate"] == "must be 'park', 'skip' or 'sweep'"
    assert by_path["kafka.bootstrap_servers"] == "the environment variable NOWHERE is not set"
    assert "did you mean capacity_events?" in by_path["sink.capacity"]
    assert "hunter2" not in str(faults(loaded, BAD))


def test_the_sinks_faults_come_with_the_cores(loaded: Load) -> None:
    text = GOOD.replace("type: memory", "type: hive").replace("name: search", "name: X")
    (name, sink) = faults(loaded, text)
    assert (name.path, sink.path, sink.line) == ("name", "sink.type", 8)
    assert sink.message == "there is no sink 'hive' (sinks on this machine: memory)"


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("name: [", 1, ""),
        ("- a\n- b", 1, "mapping"),
        ("", 1, "mapping"),
        ("name: a\nname: b\n", 2, "duplicate key"),
        ("a: 1\n b: 2\n", 2, ""),
        ("a: \x00", 1, ""),
    ],
)
def test_what_is_no_yaml_names_its_line(loaded: Load, text: str, line: int, why: str) -> None:
    (fault,) = faults(loaded, text)
    assert fault.line == line
    assert why in fault.message


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.yaml", {}, plugins)
    file = tmp_path / "p.yaml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(file, {}, plugins)


def test_references_are_resolved_everywhere(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    text = GOOD.replace("localhost:1", "${env:HOST:-localhost}:${env:PORT}").replace(
        "capacity_events: 5", "capacity_events: ${env:CAPACITY}\n  token: ${file:token}"
    )
    found = loaded(text, {"PORT": "9092", "CAPACITY": "7"})
    assert found.settings.kafka.bootstrap_servers == "localhost:9092"
    assert isinstance(found.sink, MemorySettings)
    assert found.sink.capacity_events == 7
    assert found.sink.token is not None
    assert found.sink.token.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("${env:}", "is no reference"),
        ("${vault:x}", "is no reference"),
        ("${file:nowhere}", "cannot be read"),
        ("${env:EMPTY}", "is not set"),
    ],
)
def test_a_reference_that_leads_nowhere(loaded: Load, value: str, why: str) -> None:
    (fault,) = faults(loaded, GOOD.replace("localhost:1", value), {"EMPTY": ""})
    assert (fault.line, fault.path) == (6, "kafka.bootstrap_servers")
    assert why in fault.message


def test_a_dollar_may_be_literal_and_defaults_may_be_empty(loaded: Load) -> None:
    text = GOOD + "truncate: ${env:POLICY:-skip}\n"
    assert loaded(text).settings.truncate is TruncatePolicy.SKIP
    literal = GOOD.replace("localhost:1", "a$${b}")
    assert loaded(literal).settings.kafka.bootstrap_servers == "a${b}"


def test_a_truncate_is_swept_of_listed_tables_only(loaded: Load) -> None:
    listed = "truncate_tables: [finance.titles]\n"
    found = loaded(f"{GOOD}truncate: sweep\n{listed}").settings
    assert found.truncate is TruncatePolicy.SWEEP
    assert found.truncate_tables == {"finance.titles"}
    for text in ("truncate: sweep\n", listed, f"truncate: skip\n{listed}"):
        (fault,) = faults(loaded, GOOD + text)
        assert "truncate: sweep and truncate_tables go together" in fault.message
    for table in ("titles", "finance.", "a.b.c"):
        (fault,) = faults(loaded, f"{GOOD}truncate: sweep\ntruncate_tables: [{table}]\n")
        assert "is not of the form database.table" in fault.message


def test_properties_become_text_and_hide_their_values(loaded: Load) -> None:
    text = GOOD.replace(
        "localhost:1",
        "localhost:1\n  properties: {socket.keepalive.enable: true, retry.backoff.ms: 5, "
        "sasl.password: '${env:P}'}",
    )
    found = loaded(text, {"P": "s3cret"}).settings.kafka.properties
    values = {key: value.get_secret_value() for key, value in found.items()}
    assert values == {
        "socket.keepalive.enable": "true",
        "retry.backoff.ms": "5",
        "sasl.password": "s3cret",
    }
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("more", "path", "why"),
    [
        ("delivery: {max_poll_interval_seconds: 150}", "", "must stay below"),
        ("delivery: {pause_after_seconds: 200}", "", "must stay below"),
        ("delivery: {poll_events: 100, in_hand_events: 150}", "delivery", "twice poll_events"),
        ("dead_letters: {topic: studio.finance.titles}", "", "own dead letters"),
        ("workers: 0", "workers", "at least 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    loaded: Load, more: str, path: str, why: str
) -> None:
    (fault,) = faults(loaded, GOOD + more + "\n")
    assert fault.path == path
    assert why in fault.message


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{format: json}", "either topics or topics_pattern"),
        ("{format: json, topics: [a], topics_pattern: b}", "either topics or topics_pattern"),
        ("{format: avro, topics: [a]}", "needs a registry"),
        ("{format: json, topics: [a, a]}", "listed twice"),
        ("{format: json, topics_pattern: '['}", "not a regular expression"),
        ("{format: json, topics: [a], boolean_columns: [x.y]}", "database.table.column"),
        ("{format: json, topics: [a], epochs: {studio: -1}}", "epoch"),
        (
            "{format: avro, topics: [a], registry: {url: 'http://r', username: u}}",
            "go together",
        ),
    ],
)
def test_a_source_that_makes_no_sense(loaded: Load, source: str, why: str) -> None:
    text = GOOD.replace("\n  format: json\n  topics: [studio.finance.titles]", f" {source}")
    (fault,) = faults(loaded, text)
    assert fault.path.startswith("source")
    assert why in fault.message


def test_the_parent_process_needs_no_sink() -> None:
    settings = load_core(GOOD.replace("type: memory", "type: anything"), Path("p.yaml"), {})
    assert settings.name == "search"


def test_paths_start_at_the_configuration_folder(tmp_path: Path) -> None:
    assert config_dir_of(tmp_path / "cdc-config/pipelines/a.yaml") == tmp_path / "cdc-config"
    assert config_dir_of(tmp_path / "elsewhere/a.yaml") == tmp_path / "elsewhere"
