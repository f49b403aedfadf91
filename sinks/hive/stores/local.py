"""A local or mounted filesystem. What was written is fsynced, and so is the folder it is in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from callsheet.errors import CallsheetError, ConfigError, FatalError, RetryableError
from sinks.hive.stores.port import LostFileError

_ASIDE = ".callsheet-"


class LocalStore:
    """Needs hard links for :meth:`create`: any POSIX filesystem, NFS included."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def check(self) -> None:
        probe = f"{_ASIDE}check-{uuid4().hex}"
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self.create(probe, b"")
            self.remove(probe)
        except (OSError, FatalError) as error:
            raise ConfigError(
                f"the audit's folder {self._root} cannot be written: {_reason(error)}",
                hint="correct sink.store.root, or give us write access and a filesystem with hard "
                "links there",
            ) from error

    def put(self, path: str, content: BinaryIO) -> None:
        with self._told("writing", path):
            target = self._place(path)
            content.seek(0)
            with target.open("wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
                _sync(file)
            _sync_folder(target.parent)

    def create(self, path: str, data: bytes) -> bool:
        with self._told("creating", path):
            target = self._place(path)
            aside = self._written_aside(target, data)
            try:
                os.link(aside, target)  # fails where a name is taken, as rename would not
            except FileExistsError:
                return False
            finally:
                aside.unlink()
            _sync_folder(target.parent)
            return True

    def replace(self, path: str, data: bytes) -> None:
        with self._told("writing", path):
            target = self._place(path)
            self._written_aside(target, data).replace(target)
            _sync_folder(target.parent)

    def move(self, source: str, target: str) -> None:
        with self._told("renaming", source):
            to = self._place(target)
            try:
                (self._root / source).rename(to)
            except FileNotFoundError:
                if (self._root / source).exists():
                    raise  # the target's folder is gone: it is made again next time
                if not to.exists():
                    raise LostFileError(target) from None
            _sync_folder(to.parent)

    def read(self, path: str) -> bytes | None:
        with self._told("reading", path):
            try:
                return (self._root / path).read_bytes()
            except FileNotFoundError:
                return None

    def size(self, path: str) -> int | None:
        with self._told("looking at", path):
            try:
                return (self._root / path).stat().st_size
            except FileNotFoundError:
                return None

    def names(self, folder: str, after: str = "") -> list[str]:
        with self._told("listing", folder):
            try:
                found = os.listdir(self._root / folder)  # noqa: PTH208 - names, not paths
            except FileNotFoundError:
                return []
        return sorted(name for name in found if name > after and not name.startswith(_ASIDE))

    def remove(self, path: str) -> None:
        target = self._root / path
        with self._told("removing", path):
            try:
                if target.is_dir():
                    shutil.rmtree(target)
                else:
                    target.unlink(missing_ok=True)
            except FileNotFoundError:
                return  # somebody else was quicker

    def close(self) -> None:
        """Nothing is held open."""

    # --- how ------------------------------------------------------------------------------------

    def _place(self, path: str) -> Path:
        """The file's path, in a folder that exists and would after a crash."""
        target = self._root / path
        missing = []
        folder = target.parent
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            new.mkdir(exist_ok=True)
            _sync_folder(new.parent)
        return target

    @staticmethod
    def _written_aside(target: Path, data: bytes) -> Path:
        aside = target.with_name(f"{_ASIDE}{uuid4().hex}")
        with aside.open("wb") as file:
            file.write(data)
            _sync(file)
        return aside

    @contextmanager
    def _told(self, doing: str, path: str) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise FatalError(
                f"{doing} {self._root / path} is not allowed",
                hint="give the worker's user write access to the audit's folder",
            ) from error
        except OSError as error:
            raise RetryableError(
                f"{doing} {self._root / path} failed: {error.strerror or error}",
                hint="look at the disk: is it full, is it mounted?",
            ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, CallsheetError):
        return error.message
    return getattr(error, "strerror", None) or str(error)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
