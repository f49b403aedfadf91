"""Unpacking archives whose checksum has been verified."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from callsheet.errors import FatalError

Rename = Callable[[str], str | None]
"""An entry's path in the archive -> its path in the folder; None leaves it out."""


def unpack_tar(archive: Path, folder: Path) -> None:
    """Unpack all of a .tar.gz; the `data` filter refuses entries that would leave the folder."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


def unpack_zip(archive: Path, folder: Path, rename: Rename) -> int:
    """Unpack the chosen entries of a .zip, with their modes. Returns how many files."""
    count = 0
    with zipfile.ZipFile(archive) as source:
        for entry in source.infolist():
            name = rename(entry.filename)
            if name is None or entry.is_dir():
                continue
            target = _inside(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open(entry) as data, target.open("wb") as file:
                shutil.copyfileobj(data, file, 1 << 20)
            is_program = bool(entry.external_attr >> 16 & 0o100)
            target.chmod(0o755 if is_program else 0o644)
            count += 1
    return count


def _inside(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise FatalError(f"An archive's entry would leave its folder: {name!r}.")
    return folder.joinpath(*path.parts)
