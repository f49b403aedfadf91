"""Declared schemas: every fault of every file at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from callsheet.codec.declared import declared_schema, load_declared
from callsheet.codec.layout import layout_of
from callsheet.errors import ConfigError
from tests.support.envelopes import envelope_schema, nullable

COLUMNS = {"id": "long", "name": nullable("string")}


def test_a_schema_is_named_by_its_topic(tmp_path: Path) -> None:
    text = json.dumps(envelope_schema(COLUMNS) | {"callsheet.key": ["id"]})
    (tmp_path / "studio.finance.titles.avsc").write_text(text)
    (tmp_path / "README.md").write_text("not a schema")

    loaded = load_declared(tmp_path)

    assert list(loaded) == ["studio.finance.titles"]
    assert loaded["studio.finance.titles"].key == ("id",)
    assert declared_schema(json.dumps(envelope_schema(COLUMNS))).key is None


def test_every_fault_is_reported_with_its_file(tmp_path: Path) -> None:
    faults = {
        "a.avsc": ("{", "not JSON"),
        "b.avsc": ('"int"', "not a Debezium envelope"),
        "c.avsc": (
            json.dumps(envelope_schema({"x": {"type": "map", "values": "int"}})),
            "column x",
        ),
        "d.avsc": (json.dumps(envelope_schema(COLUMNS) | {"callsheet.key": "id"}), "a list of"),
        "e.avsc": (json.dumps(envelope_schema(COLUMNS) | {"callsheet.key": ["nope"]}), "nope"),
        "f.avsc": (json.dumps(envelope_schema(COLUMNS) | {"callsheet.key": []}), "no columns"),
    }
    for name, (text, _) in faults.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "g.avsc").write_bytes(b"\xff")

    with pytest.raises(ConfigError) as caught:
        load_declared(tmp_path)

    said = [str(fault) for fault in caught.value.faults]
    assert len(said) == len(faults) + 1
    for line, (name, (_, expected)) in zip(said, faults.items(), strict=False):
        assert name in line
        assert expected in line


def test_the_readmes_example_is_a_declared_schema() -> None:
    readme = Path(__file__).parents[3] / "cdc-config/schemas/README.md"
    example = readme.read_text("utf-8").split("```json\n")[1].split("```")[0]

    schema = declared_schema(example)

    assert schema.key == ("title_id",)
    assert [field.column.kind.value for field in layout_of(schema.tree, schema.key).fields] == [
        "integer", "string", "date", "decimal",
    ]  # fmt: skip
