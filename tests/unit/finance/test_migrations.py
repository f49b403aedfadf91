"""The revisions as files: a line without a fork, found by path."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from callsheet.errors import UsageError
from finance.migrations import find_revisions
from finance.tables import BUSINESS_TABLES, METADATA


def test_the_revisions_form_one_line() -> None:
    scripts = ScriptDirectory(str(find_revisions()))
    assert len(scripts.get_heads()) == 1
    assert len(scripts.get_bases()) == 1


def test_a_folder_without_revisions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No migrations found"):
        find_revisions(tmp_path)


def test_revisions_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (find_revisions() / "versions").is_dir()


def test_every_table_has_a_primary_key_and_parents_come_first() -> None:
    assert all(table.primary_key.columns for table in METADATA.tables.values())
    names = [table.name for table in BUSINESS_TABLES]
    for table in BUSINESS_TABLES:
        for key in table.foreign_keys:
            parent = key.column.table.name
            assert names.index(parent) < names.index(table.name)
