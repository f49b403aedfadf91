"""`callsheet validate` on how long deletions are remembered, against how long records are kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

CHECKOUT = Path(__file__).parents[3]
PIPELINE = """\
name: search
source: {{format: json, topics: [studio.finance.titles, studio.finance.budgets]}}
kafka: {{bootstrap_servers: 'localhost:1'}}
dead_letters:
  retention_hours: {letters}
sink:
  type: elasticsearch
  hosts: ['http://localhost:1']
  tombstones_kept_hours: {kept}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pipelines").mkdir()
    connectors = tmp_path / "connectors"
    connectors.mkdir()
    for name in ("finance-mysql.json", "finance-mysql.topics.yaml"):
        shutil.copy(CHECKOUT / "cdc-config/connectors" / name, connectors / name)
    return tmp_path


def write(folder: Path, kept: float, letters: float = 100, **topics: str) -> None:
    text = PIPELINE.format(kept=kept, letters=letters)
    (folder / "pipelines/search.yaml").write_text(text)
    path = folder / "connectors/finance-mysql.topics.yaml"
    stated = path.read_text()
    for table, hours in topics.items():
        line = f"  finance.{table}: {{}}"
        assert line in stated
        stated = stated.replace(line, f"  finance.{table}: {{retention_hours: {hours}}}")
    path.write_text(stated)


def validate(*paths: Path) -> tuple[int, dict[str, list[dict[str, object]]]]:
    from callsheet.cli.validate import validate as command

    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [*map(str, paths), "--json"])
    return result.exit_code, json.loads(result.output)


def test_deletions_forgotten_before_the_last_letter_could_come_are_a_fault(folder: Path) -> None:
    # 168 of the topics, 168 of a segment, 100 of the letters, 24 of a letters' segment
    write(folder, kept=459)
    code, found = validate(folder)
    assert code == 78
    (fault,) = found["faults"]
    assert fault["file"] == str(folder / "pipelines/search.yaml")
    assert (fault["line"], fault["path"]) == (9, "sink.tombstones_kept_hours")
    assert "finance-mysql.topics.yaml:11" in str(fault["message"])
    assert "at least 460" in str(fault["message"])
    write(folder, kept=460)
    assert validate(folder) == (0, {**found, "faults": []})


def test_the_topic_that_keeps_longest_decides_and_is_named_with_its_line(folder: Path) -> None:
    write(folder, kept=700, budgets="500")
    code, found = validate(folder)
    assert code == 78
    message = str(found["faults"][0]["message"])
    assert "studio.finance.budgets keeps records for 500" in message
    assert "finance-mysql.topics.yaml:20" in message
    assert "at least 792" in message


def test_a_topic_that_the_pipeline_does_not_read_is_nothing_to_it(folder: Path) -> None:
    write(folder, kept=460, talent="5000")
    assert validate(folder)[0] == 0


def test_a_topic_without_limit_is_a_warning(folder: Path) -> None:
    write(folder, kept=460, titles="unlimited")
    code, found = validate(folder)
    assert (code, found["faults"]) == (0, [])
    (warning,) = found["warnings"]
    assert "studio.finance.titles keeps records without limit" in str(warning["message"])
    assert warning["line"] == 9


def test_the_letters_alone_are_checked_where_no_topic_is_stated(folder: Path) -> None:
    write(folder, kept=123, letters=100)
    code, found = validate(folder / "pipelines/search.yaml")
    assert code == 78
    assert "at least 124" in str(found["faults"][0]["message"])


def test_they_may_be_named_one_by_one(folder: Path) -> None:
    write(folder, kept=459)
    assert validate(folder / "pipelines", folder / "connectors")[0] == 78
