from __future__ import annotations

import errno
from pathlib import Path

import pytest

from callsheet.errors import PreconditionError
from stack.places import Places, disk_errors_named, free_bytes, is_open_to_all, write_atomically


def test_root_gets_folders_that_other_users_can_reach() -> None:
    places = Places.of({}, is_root=True)
    assert (places.cache, places.state) == (
        Path("/var/cache/callsheet"),
        Path("/var/lib/callsheet"),
    )


def test_others_get_their_own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    places = Places.of({}, is_root=False)
    assert (places.cache, places.state) == (tmp_path / "c/callsheet", tmp_path / "s/callsheet")


@pytest.mark.parametrize("is_root", [True, False])
def test_the_environment_wins(is_root: bool, tmp_path: Path) -> None:
    env = {"CALLSHEET_CACHE_DIR": str(tmp_path / "c"), "CALLSHEET_STATE_DIR": str(tmp_path / "s")}
    assert Places.of(env, is_root=is_root) == Places(tmp_path / "c", tmp_path / "s")


def test_one_closed_folder_above_closes_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    for each in (tmp_path, tmp_path / "a", folder):
        each.chmod(0o755)
    (tmp_path / "a").chmod(0o700)
    assert not is_open_to_all(folder)
    assert not is_open_to_all(tmp_path / "absent")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "env"
    write_atomically(path, "one", mode=0o600)
    write_atomically(path, "two", mode=0o600)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_free_space_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "a/b/c") > 0


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "is full"), (errno.EACCES, "cannot be written"), (errno.EROFS, "written")],
)
def test_trouble_with_the_disk_is_one_sentence(tmp_path: Path, number: int, words: str) -> None:
    with pytest.raises(PreconditionError, match=words), disk_errors_named(tmp_path):
        raise OSError(number, "x", str(tmp_path / "file"))


def test_other_errors_of_the_system_pass(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="broken"), disk_errors_named(tmp_path):
        raise OSError(errno.EIO, "broken")
