"""Files that cannot be loaded: one clear sentence each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from callsheet.errors import UsageError
from finance.load import find_films, read_rows


def test_the_films_we_ship_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_films().name == "movies.json"


def test_films_in_the_working_directory_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "examples" / "data" / "movies.json"
    own.parent.mkdir(parents=True)
    own.write_text("[]", "utf-8")
    monkeypatch.chdir(tmp_path)
    assert find_films() == own


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UsageError, match=r"nowhere\.json"):
        find_films(Path("nowhere.json"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"a": 1}', "holds no list"),
        (b"[1, 2", "is not JSON"),
        (b"", "is not JSON"),
        (b'["\xff"]', "is not JSON"),
    ],
)
def test_a_file_of_the_wrong_shape_is_refused(tmp_path: Path, content: Any, says: Any) -> None:
    file = tmp_path / "films.json"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=says) as caught:
        read_rows(file)
    assert caught.value.hint


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        read_rows(tmp_path)
