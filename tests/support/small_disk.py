"""A disk that a test fills to the last byte."""

from __future__ import annotations

import errno
import resource
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """``is_real``: a filesystem of its own. Where we may mount none, processes are forbidden to let
    any file grow instead: the same error at the same calls, with another number.
    """

    path: Path
    is_real: bool

    @contextmanager
    def full(self, pids: Collection[int]) -> Iterator[None]:
        """For the length of the block. ``pids``: whoever writes there, parents included."""
        if self.is_real:
            ballast = self.path / "ballast"
            _fill(ballast)
            try:
                yield
            finally:
                ballast.unlink()
        else:
            _limit(pids, 0)
            try:
                yield
            finally:
                _limit(pids, None)


@contextmanager
def a_small_disk(folder: Path, size_mib: int = 8) -> Iterator[SmallDisk]:
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)]
    try:
        is_real = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_real = False
    try:
        yield SmallDisk(folder, is_real)
    finally:
        if is_real:  # lazily: whoever still has a file open there keeps it alive, not the test
            subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        for size in (_MIB, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def _limit(pids: Collection[int], size_bytes: int | None) -> None:
    for pid in pids:
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            soft = hard if size_bytes is None else size_bytes
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
