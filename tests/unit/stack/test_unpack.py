from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from callsheet.errors import FatalError
from stack.unpack import unpack_tar, unpack_zip


def a_zip(path: Path, *entries: tuple[str, int]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, name)
    return path


def test_only_chosen_entries_with_their_modes(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "a.zip", ("x/bin/run", 0o755), ("x/doc", 0o644), ("y/doc", 0o644))
    out = tmp_path / "out"
    count = unpack_zip(
        archive, out, lambda name: name.removeprefix("x/") if name.startswith("x/") else None
    )
    assert count == 2
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()) == [
        "bin/run",
        "doc",
    ]
    assert (out / "bin/run").stat().st_mode & 0o777 == 0o755
    assert (out / "doc").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil"])
def test_an_entry_that_would_leave_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = a_zip(tmp_path / "a.zip", (name, 0o644))
    with pytest.raises(FatalError, match="leave its folder"):
        unpack_zip(archive, tmp_path / "out", lambda each: each)
    assert not (tmp_path / "evil").exists()


def a_tar(path: Path, *entries: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for entry in entries:
            entry.size = 1 if entry.isfile() else 0
            archive.addfile(entry, io.BytesIO(b"x"))
    return path


def an_entry(name: str, mode: int = 0o644, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.type, entry.linkname = mode, kind, "/etc/passwd"
    return entry


def test_a_tarball_keeps_programs_programs(tmp_path: Path) -> None:
    run, doc = an_entry("x/bin/run", 0o4755), an_entry("x/doc", 0o666)
    unpack_tar(a_tar(tmp_path / "a.tar.gz", run, doc), tmp_path / "out")
    assert (tmp_path / "out/x/bin/run").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "out/x/doc").stat().st_mode & 0o7777 == 0o644


@pytest.mark.parametrize(
    "entry",
    [
        an_entry("../evil"),
        an_entry("/etc/evil"),
        an_entry("evil", kind=tarfile.SYMTYPE),
        an_entry("evil", kind=tarfile.LNKTYPE),
        an_entry("evil", kind=tarfile.CHRTYPE),
    ],
)
def test_a_tarball_cannot_leave_its_folder_either(tmp_path: Path, entry: tarfile.TarInfo) -> None:
    with pytest.raises(FatalError):
        unpack_tar(a_tar(tmp_path / "a.tar.gz", entry), tmp_path / "out")
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "out/evil").exists()
