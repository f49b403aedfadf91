"""What `callsheet validate` knows about field rules from the declared schemas."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from callsheet.cli.validate import validate
from callsheet.config.loading import load
from callsheet.errors import Fault
from callsheet.fields.checks import rule_faults
from sinks import plugin

CHECKOUT = Path(__file__).parents[3]
EXAMPLE = CHECKOUT / "cdc-config/pipelines/search-private.yaml.example"
ENV = {"CALLSHEET_HASH_KEY": "0123456789abcdef" * 4}

Faults = Callable[[str, str], list[Fault]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(CHECKOUT / "cdc-config/schemas", tmp_path / "schemas")
    (tmp_path / "pipelines").mkdir()
    return tmp_path


@pytest.fixture
def faults(folder: Path) -> Faults:
    def of(old: str, new: str) -> list[Fault]:
        """Of the example with one thing changed."""
        text = EXAMPLE.read_text("utf-8")
        assert old in text
        file = folder / "pipelines/search-private.yaml"
        file.write_text(text.replace(old, new), "utf-8")
        return list(rule_faults(load(file, ENV, plugin)))

    return of


def test_the_example_fits_the_tables(faults: Faults) -> None:
    assert faults("eu-1", "eu-2") == []


def test_a_column_that_is_not_there(faults: Faults) -> None:
    [fault] = faults("exclude: [memo]", "exclude: [mamo]")
    assert fault.message == "finance.talent_payments: column mamo is not in the table"
    assert (fault.path, fault.line) == ("fields.tables[1]", 30)


def test_a_key_column(faults: Faults) -> None:
    [fault] = faults("exclude: [memo]", "exclude: [payment_id]")
    assert "payment_id is of the key" in fault.message


def test_a_value_of_another_kind(faults: Faults) -> None:
    [fault] = faults('"1900-01-01"', "1900")
    assert fault.message.startswith("finance.talent: column birth_date: must be text")


def test_a_table_that_is_not_read(faults: Faults) -> None:
    found = faults("table: finance.talent_payments", "table: finance.payments")
    assert [fault.message for fault in found] == ["no topic of this pipeline carries such a table"]


def test_a_table_that_is_declared_nowhere_is_left_to_its_first_record(
    folder: Path, faults: Faults
) -> None:
    for file in (folder / "schemas").glob("*.avsc"):
        file.unlink()
    assert faults("exclude: [memo]", "exclude: [mamo]") == []


def test_the_command_tells_it(
    folder: Path,
    faults: Faults,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import typer

    faults("exclude: [memo]", "exclude: [mamo]")
    monkeypatch.setenv("CALLSHEET_HASH_KEY", ENV["CALLSHEET_HASH_KEY"])
    with pytest.raises(typer.Exit) as ended:
        validate([folder / "pipelines"])
    assert ended.value.exit_code == 78
    assert "column mamo is not in the table" in capsys.readouterr().out.replace("\n", " ")
