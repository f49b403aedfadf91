"""Unpacking archives whose checksum has been verified."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from callsheet.errors import FatalError

Rename = Callable[[str], str | None]
"""An entry's path in the archive -> its path in the folder; None leaves it out."""


def unpack_tar(archive: Path, folder: Path) -> None:
    """Unpack all of a .tar.gz: files and folders, with their modes; anything else is refused.

    Not by `extractall(filter="data")`: Debian bookworm's Python is older than that argument.
    """
    with tarfile.open(archive) as tar:
        for entry in tar:
            if entry.isdir():
                continue
            data = tar.extractfile(entry) if entry.isfile() else None
            if data is None:
                raise FatalError(f"An archive's entry is neither file nor folder: {entry.name!r}.")
            _write(data, _inside(folder, entry.name), is_program=bool(entry.mode & 0o100))


def unpack_zip(archive: Path, folder: Path, rename: Rename) -> int:
    """Unpack the chosen entries of a .zip, with their modes. Returns how many files."""
    count = 0
    with zipfile.ZipFile(archive) as source:
        for entry in source.infolist():
            name = rename(entry.filename)
            if name is None or entry.is_dir():
                continue
            with source.open(entry) as data:
                is_program = bool(entry.external_attr >> 16 & 0o100)
                _write(data, _inside(folder, name), is_program=is_program)
            count += 1
    return count


def _write(data: IO[bytes], target: Path, *, is_program: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(data, file, 1 << 20)
    target.chmod(0o755 if is_program else 0o644)


def _inside(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise FatalError(f"An archive's entry would leave its folder: {name!r}.")
    return folder.joinpath(*path.parts)
