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
