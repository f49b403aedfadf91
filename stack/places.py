"""Where downloads and stacks live on this machine."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import platformdirs

from callsheet.errors import PreconditionError

_APP = "callsheet"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Places:
    """``cache``: verified downloads, shared by all stacks. ``state``: one folder per stack."""

    cache: Path
    state: Path

    @classmethod
    def of(cls, env: Mapping[str, str], *, is_root: bool) -> Places:
        """Read ``CALLSHEET_CACHE_DIR`` and ``CALLSHEET_STATE_DIR``, else the platform's folders.

        Root gets the system's folders instead of its home: Elasticsearch refuses to run as root,
        and no other user can look into /root.
        """
        if is_root:
            cache, state = Path("/var/cache") / _APP, Path("/var/lib") / _APP
        else:
            cache, state = platformdirs.user_cache_path(_APP), platformdirs.user_state_path(_APP)
        return cls(
            cache=_absolute(env.get("CALLSHEET_CACHE_DIR"), cache),
            state=_absolute(env.get("CALLSHEET_STATE_DIR"), state),
        )


def _absolute(given: str | None, default: Path) -> Path:
    return Path(given).expanduser().absolute() if given else default


def is_open_to_all(path: Path) -> bool:
    """Can a user without rights reach ``path``? Every folder above it must let others pass."""
    try:
        return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))
    except OSError:
        return False


def open_to_all(folder: Path) -> None:
    """Let every user read ``folder``, whatever the umask was when it was unpacked."""
    for top, _, files in os.walk(folder):
        Path(top).chmod(0o755)
        for name in files:
            file = Path(top, name)
            if not file.is_symlink():
                file.chmod(
                    file.stat().st_mode | 0o444 | (file.stat().st_mode & 0o100) // 0o100 * 0o111
                )


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write aside, then rename: a reader sees the old file or the new one, never a part."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_record(path: Path, kind: type[_T], hint: str) -> _T | None:
    """A file of ours in JSON, as a dataclass; None where there is none.

    Raises:
        PreconditionError: somebody has damaged it.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except ValueError as error:  # msgspec's own, and those of a dataclass
        raise PreconditionError(f"{path} is damaged: {error}.", hint=hint) from error


def free_bytes(path: Path) -> int:
    """Free space where ``path`` is, or will be."""
    while not path.exists():
        path = path.parent
    usage = os.statvfs(path)
    return usage.f_bavail * usage.f_frsize


@contextmanager
def disk_errors_named(path: Path) -> Iterator[None]:
    """Turn a full disk, a missing right and the like into one clear sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise PreconditionError(
                f"The disk with {path} is full.",
                hint=f"{free_bytes(path) >> 20} MiB are free; make room, then run it again.",
            ) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise PreconditionError(
                f"{error.filename or path} cannot be written by this user.",
                hint="Set CALLSHEET_CACHE_DIR and CALLSHEET_STATE_DIR to folders of your own.",
            ) from error
        raise
