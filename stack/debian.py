"""Debian packages without installing them: private apt folders, unpacked into one tree.

MySQL 9.7 is in Debian's unstable suite. apt itself verifies the chain from the suite's signature
to each package's checksum; the machine's own package state is neither read nor changed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from callsheet.errors import FatalError, PreconditionError, UnavailableError
from stack.artifacts import sha256_of
from stack.command import Command, CommandFailedError
from stack.progress import Progress

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_URI_LINE = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>\w{64})$")


@dataclass(frozen=True, slots=True)
class Package:
    """One .deb as the signed package list describes it."""

    file_name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where this machine gets Debian packages, and the key that signs them."""

    uri: str
    keyring: str

    @classmethod
    def of_machine(cls, etc: Path, env: Mapping[str, str]) -> Mirror:
        """From ``CALLSHEET_DEBIAN_MIRROR``, else from the machine's own apt sources."""
        if given := env.get("CALLSHEET_DEBIAN_MIRROR"):
            return cls(given, _KEYRING)
        sources = [*sorted((etc / "sources.list.d").glob("*.sources")), etc / "sources.list"]
        for path in sources:
            if path.is_file() and (mirror := _parsed(path.read_text("utf-8"))):
                return mirror
        raise PreconditionError(
            "This machine's apt sources name no Debian mirror, and MySQL 9.7 comes from Debian.",
            hint="Set CALLSHEET_DEBIAN_MIRROR to a mirror's address (and install the package "
            "debian-archive-keyring), or use the containers: docker compose up.",
        )


def _parsed(text: str) -> Mirror | None:
    """The first mirror of the main archive, in either of apt's two formats."""
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([\w-]+):\s*(\S+)", stanza, re.MULTILINE))
        uri = fields.get("URIs", "")
        if uri.rstrip("/").endswith("/debian"):
            return Mirror(uri, fields.get("Signed-By", _KEYRING))
    for options, uri in re.findall(r"^deb\s+(\[[^]]*\]\s+)?(\S+)", text, re.MULTILINE):
        if uri.rstrip("/").endswith("/debian"):
            signed = re.search(r"signed-by=(\S+?)[\s\]]", options)
            return Mirror(uri, signed[1] if signed else _KEYRING)
    return None


@dataclass(frozen=True, slots=True)
class Debian:
    """Fetches one package with all it needs, and unpacks them into a tree of their own."""

    command: Command
    folder: Path
    mirror: Callable[[], Mirror]
    suite: str = "sid"

    def version(self, package: str, wanted: str) -> str:
        """The newest version on offer that starts with ``wanted``."""
        self._prepare()
        self._run(["apt-get", *self._options, "update"], "read Debian's package lists")
        listing = self._run(["apt-cache", *self._options, "madison", package], "look for MySQL")
        offered = [line.split("|")[1].strip() for line in listing.splitlines() if "|" in line]
        for version in offered:
            if version.startswith(wanted):
                return version
        raise PreconditionError(
            f"Debian's {self.suite} offers {package} {', '.join(offered) or 'not at all'}, "
            f"and Callsheet needs {wanted}x.",
            hint="Use the containers (docker compose up), or a newer Callsheet.",
        )

    def fetch(self, package: str, version: str, task: str, progress: Progress) -> list[Package]:
        """Download the package and all it needs; each has the checksum of the signed list."""
        install = ["install", "-y", "--no-install-recommends", f"{package}={version}"]
        # Asked against an empty archive folder, so that the answer names every file.
        listing = self._run(
            ["apt-get", *self._options, "-o", f"Dir::Cache::archives={self._path('none')}",
             "-o", "Acquire::ForceHash=SHA256", *install, "--print-uris"],
            "list MySQL's packages",
        )  # fmt: skip
        matches = (_URI_LINE.match(line) for line in listing.splitlines())
        packages = [Package(m["file"], int(m["size"]), m["sha256"]) for m in matches if m]
        total = sum(each.size_bytes for each in packages)
        self._run(
            ["apt-get", *self._options, "-q", "--download-only", *install],
            "download MySQL's packages",
            tick=lambda: progress.advance(task, self._arrived(), total),
        )
        progress.finish(task)
        for each in packages:
            self._verify(each)
        return packages

    def unpack(self, packages: list[Package], tree: Path) -> None:
        """Unpack all packages into one tree; no script of theirs runs."""
        tree.mkdir(parents=True, exist_ok=True)
        for each in packages:
            archive = self._archives / each.file_name
            self._run(["dpkg-deb", "-x", str(archive), str(tree)], f"unpack {each.file_name}")

    def forget(self) -> None:
        """Drop the downloads and the package lists."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _archives(self) -> Path:
        return self._path("cache/archives")

    def _path(self, name: str) -> Path:
        return self.folder / name

    def _verify(self, package: Package) -> None:
        path = self._archives / package.file_name
        if sha256_of(path) != package.sha256:
            path.unlink()
            raise FatalError(
                f"{package.file_name} is not the file that Debian's signed list describes.",
                hint="It was thrown away; run it again.",
            )

    def _arrived(self) -> int:
        """Bytes there so far: finished files, and the parts in `partial/`."""
        total = 0
        for path in self._archives.rglob("*.deb"):
            try:
                total += path.stat().st_size
            except FileNotFoundError:  # moved out of partial/ since it was listed
                continue
        return total

    def _prepare(self) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise PreconditionError(
                "This machine has no apt-get, and MySQL 9.7 comes from Debian's packages.",
                hint="Use the containers instead: docker compose up.",
            )
        for name in ("state/lists/partial", "cache/archives/partial", "none/partial", "etc"):
            self._path(name).mkdir(parents=True, exist_ok=True)
        self._path("status").touch()
        mirror = self.mirror()
        self._path("sources.list").write_text(
            f"deb [signed-by={mirror.keyring}] {mirror.uri} {self.suite} main\n", encoding="utf-8"
        )

    @property
    def _options(self) -> list[str]:
        """The machine's own apt configuration (proxies) stays; its sources and state do not."""
        settings = {
            "Dir::State": self._path("state"),
            "Dir::State::status": self._path("status"),  # an empty machine: all libraries come too
            "Dir::Cache": self._path("cache"),
            "Dir::Etc::sourcelist": self._path("sources.list"),
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": "-",
            "Dir::Etc::preferencesparts": self._path("etc"),
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "APT::Install-Recommends": "false",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",  # apt's own user could not look into a private folder
            "Debug::NoLocking": "true",  # our own lock is held
        }
        return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def _run(self, argv: list[str], what: str, tick: Callable[[], None] | None = None) -> str:
        try:
            return self.command(argv, tick=tick)
        except CommandFailedError as error:
            if "No space left on device" in error.output or "enough free space" in error.output:
                raise PreconditionError(
                    f"The disk is full: could not {what}.", hint="Make room, then run it again."
                ) from error
            faults = [line for line in error.output.splitlines() if line.startswith("E:")]
            raise UnavailableError(
                f"Could not {what}: {(faults or [error.message])[0]}",
                hint="Look at the network and the machine's apt sources; then run it again.",
            ) from error
