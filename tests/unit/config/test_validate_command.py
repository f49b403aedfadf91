from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from callsheet.errors import UsageError

CHECKOUT = Path(__file__).parents[3]
PIPELINE = """\
name: {name}
source: {{format: json, topics: [studio.finance.titles]}}
kafka: {{bootstrap_servers: 'localhost:1'}}
http: {{port: 0}}
sink: {{type: elasticsearch, hosts: ['http://localhost:1'], index: '{name}-{{table}}'}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("pipelines", "connectors", "schemas", "mappings"):
        (tmp_path / name).mkdir()
    (tmp_path / "pipelines/a.yaml").write_text(PIPELINE.format(name="a"))
    return tmp_path


def validate(*arguments: str) -> tuple[int, str]:
    import typer

    from callsheet.cli.validate import validate as command

    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_the_repositorys_configuration_has_no_fault() -> None:
    code, out = validate(str(CHECKOUT / "cdc-config"), "--json")
    assert (code, json.loads(out)["faults"]) == (0, [])


def test_every_fault_of_every_file_is_told(folder: Path) -> None:
    (folder / "pipelines/b.yaml").write_text(PIPELINE.format(name="b").replace("json", "xml"))
    (folder / "connectors/c.json").write_text("{")
    (folder / "schemas/t.avsc").write_text("{}")
    (folder / "mappings/finance.titles.json").write_text('{"propertys": {}}')
    code, out = validate(str(folder), "--json")
    assert code == 78
    found = json.loads(out)
    faulty = {Path(fault["file"]).name for fault in found["faults"]}
    assert faulty == {"b.yaml", "c.json", "t.avsc", "finance.titles.json"}
    assert all(fault["message"] for fault in found["faults"])


ENVELOPE = """\
{"type": "record", "name": "Envelope", "callsheet.key": %(key)s, "fields": [
  {"name": "before", "type": ["null", {"type": "record", "name": "Value", "fields": [
    {"name": "title_id", "type": "long"},
    {"name": "length", "type": %(type)s}
  ]}]},
  {"name": "after", "type": ["null", "Value"]},
  {"name": "source", "type": {"type": "record", "name": "Source", "fields": []}},
  {"name": "op", "type": "string"}
]}
"""


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ('{"type": "record",\n "fields": [ }', 2, "not JSON: Expecting value"),
        (ENVELOPE % {"key": '["title_id"]', "type": '"interval"'}, 4, "interval is not defined"),
        (
            ENVELOPE % {"key": '["title_id"]', "type": '{"type": "map", "values": "int"}'},
            4,
            "column length",
        ),
        (ENVELOPE % {"key": '"title_id"', "type": '"int"'}, 1, "a list of column names"),
        ("[]", 1, "not a Debezium envelope"),
    ],
)
def test_a_declared_schemas_fault_names_its_line(
    folder: Path, text: str, line: int, why: str
) -> None:
    (folder / "schemas/studio.finance.titles.avsc").write_text(text)
    code, out = validate(str(folder), "--json")
    (fault,) = json.loads(out)["faults"]
    assert (code, fault["line"]) == (78, line)
    assert why in fault["message"]


def test_a_mappings_faults_name_their_lines_and_what_is_allowed(folder: Path) -> None:
    (folder / "mappings/finance.titles.json").write_text(
        """\
{
  "setings": {},
  "settings": {
    "refresh_interval": "1s"
  },
  "mappings": {
    "properties": {
      "_callsheet": {},
      "name": "text"
    }
  }
}
"""
    )
    (folder / "mappings/finance.talent.json").write_text('{"mappings": [],\n}')
    _, out = validate(str(folder), "--json")
    found = [(f["line"], f["path"], f["message"]) for f in json.loads(out)["faults"]]
    assert found == [
        (2, "", "not JSON: Expecting property name enclosed in double quotes"),
        (9, "mappings.properties.name", "must be a mapping of keys to values"),
        (2, "setings", "unknown key; did you mean settings? (allowed: mappings, settings)"),
        (4, "settings.refresh_interval", "is set by the pipeline's `sink:` block: refresh"),
        (8, "mappings.properties._callsheet", "is Callsheet's own field"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{{port: 0}}", "{{port: high}}", "http.port: must be a whole number"),
        ("{{port: 0}}", "{{port: -1}}", "http.port: must be at least 0"),
        ("{{port: 0}}", "5", "http: must be a mapping with the keys host, port"),
        ("[studio.finance.titles]", "all", "source.topics: must be a list"),
        ("[studio.finance.titles]", "[5]", "source.topics[0]: must be a text (write it in quotes)"),
    ],
)
def test_faults_are_in_plain_words(folder: Path, old: str, new: str, said: str) -> None:
    text = PIPELINE.replace(old, new).format(name="a")
    (folder / "pipelines/a.yaml").write_text(text)
    _, out = validate(str(folder), "--json")
    (fault,) = json.loads(out)["faults"]
    assert f"{fault['path']}: {fault['message']}" == said


def test_a_topics_file_is_checked_in_the_same_words(folder: Path) -> None:
    for name in ("finance-mysql.json", "finance-mysql.topics.yaml"):
        text = (CHECKOUT / "cdc-config/connectors" / name).read_text()
        text = text.replace("  partitions: 4", "  partitons: 4").replace("hours: 24}", "hours: 0}")
        (folder / "connectors" / name).write_text(text)
    _, out = validate(str(folder), "--json")
    faults = {f["path"]: f["message"] for f in json.loads(out)["faults"]}
    assert "did you mean partitions? (allowed: " in faults["defaults.partitons"]
    assert faults["heartbeat.retention_hours"] == "must be more than 0 or must be 'unlimited'"


def with_properties(folder: Path, properties: str) -> list[tuple[int, str, str]]:
    """What is said of these lines."""
    text = PIPELINE.format(name="a").replace(
        "kafka: {bootstrap_servers: 'localhost:1'}",
        "kafka:\n  bootstrap_servers: 'localhost:1'\n  properties:\n" + properties,
    )
    (folder / "pipelines/a.yaml").write_text(text)
    _, out = validate(str(folder), "--json")
    return [(f["line"], f["path"], f["message"]) for f in json.loads(out)["faults"]]


def test_what_the_kafka_client_does_not_take_is_a_fault(folder: Path) -> None:
    found = with_properties(
        folder, "    client.rack: here\n    security.protocol: FOO\n    foo.bar: x\n"
    )
    assert sorted(found) == [
        (
            7,
            "kafka.properties.security.protocol",
            'Invalid value for configuration property "security.protocol"',
        ),
        (8, "kafka.properties.foo.bar", 'No such configuration property: "foo.bar"'),
    ]


def test_a_certificate_that_is_not_there_is_a_fault(folder: Path) -> None:
    found = with_properties(
        folder, "    security.protocol: SSL\n    ssl.ca.location: /nonexistent/ca.pem\n"
    )
    assert found == [
        (7, "kafka.properties.ssl.ca.location", "there is no file /nonexistent/ca.pem")
    ]


def test_properties_that_do_not_go_together_are_a_fault_of_all(folder: Path) -> None:
    (found,) = with_properties(
        folder, "    security.protocol: SASL_SSL\n    sasl.mechanism: PLAIN\n"
    )
    assert found == (5, "kafka.properties", "sasl.username and sasl.password must be set")


def test_a_variable_that_is_not_set_is_the_only_fault(folder: Path) -> None:
    (found,) = with_properties(folder, "    security.protocol: ${env:CALLSHEET_NOT_SET}\n")
    assert "CALLSHEET_NOT_SET" in found[2]


def test_a_topics_file_alone_is_checked_with_its_connector(folder: Path) -> None:
    for name in ("finance-mysql.json", "finance-mysql.topics.yaml"):
        text = (CHECKOUT / "cdc-config/connectors" / name).read_text()
        (folder / "connectors" / name).write_text(text)
    topics = folder / "connectors/finance-mysql.topics.yaml"
    code, out = validate(str(topics), "--json")
    assert (code, len(json.loads(out)["files"])) == (0, 2)
    topics.write_text(topics.read_text().replace("partitions: 4", "partitons: 4", 1))
    code, _ = validate(str(topics), "--json")
    assert code == 78
    (folder / "connectors/finance-mysql.json").unlink()
    with pytest.raises(UsageError, match=r"finance-mysql\.json is not beside it"):
        validate(str(topics))


def test_pipelines_that_would_take_each_others_partitions(folder: Path) -> None:
    (folder / "pipelines/b.yaml").write_text(PIPELINE.format(name="a"))
    code, out = validate(str(folder), "--json")
    assert code == 78
    assert [fault["path"] for fault in json.loads(out)["faults"]] == ["name", "kafka.group_id"]


def test_people_read_where_and_what(folder: Path) -> None:
    (folder / "pipelines/a.yaml").write_text(PIPELINE.format(name="a").replace("json", "xml"))
    code, out = validate(str(folder))
    assert code == 78
    assert "a.yaml:2" in out.replace("\n", "")


def test_nothing_to_validate_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        validate(str(tmp_path / "none"))
    with pytest.raises(UsageError, match="no configuration file"):
        validate(str(tmp_path))
