"""Finding a JDK that a server can run on, and saying what to install when there is none."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stack.command import Command, CommandFailedError
from stack.places import is_open_to_all

_VERSION = re.compile(r'"?(?:1\.)?(\d+)')
_PLACES = (
    "/usr/lib/jvm/*", "/usr/java/*", "/opt/java/*", "/opt/*jdk*", "/opt/*jdk*/*",
    "~/.sdkman/candidates/java/*", "~/.jdks/*", "~/.asdf/installs/java/*",
    "~/.local/share/mise/installs/java/*", "/home/linuxbrew/.linuxbrew/opt/openjdk*/libexec",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Jdk:
    """One Java on this machine."""

    home: Path
    version: int
    text: str
    modules: frozenset[str]

    @property
    def java(self) -> Path:
        """The program."""
        return self.home / "bin" / "java"


@dataclass(frozen=True, slots=True)
class JavaRequirement:
    """What a server needs of its Java; ``at_most`` 0 means no upper bound."""

    at_least: int
    at_most: int = 0
    modules: frozenset[str] = frozenset()

    def admits(self, jdk: Jdk) -> bool:
        """Can the server run on it?"""
        return (
            self.at_least <= jdk.version <= (self.at_most or jdk.version)
            and self.modules <= jdk.modules
        )

    def __str__(self) -> str:
        kind = "a full JDK" if self.modules else "Java"
        span = f"{self.at_least} to {self.at_most}" if self.at_most else f"{self.at_least} or newer"
        return f"{kind} {span}"


@dataclass(frozen=True, slots=True)
class JdkSearch:
    """Looks where JDKs are: JAVA_HOME, JDK*_HOME, PATH, and the usual folders."""

    env: Mapping[str, str]
    command: Command
    places: Sequence[str] = _PLACES

    def every(self) -> list[Jdk]:
        """All that were found, newest first, each once."""
        found: dict[Path, Jdk] = {}
        for home in self._homes():
            real = home.resolve()
            if real not in found and (jdk := self._described(real)):
                found[real] = jdk
        return sorted(found.values(), key=lambda jdk: jdk.version, reverse=True)

    def choose(self, requirement: JavaRequirement, *, any_user: bool = False) -> Jdk | None:
        """The newest that will do; with ``any_user`` one that a user without rights can read."""
        for jdk in self.every():
            if requirement.admits(jdk) and (not any_user or is_open_to_all(jdk.home)):
                return jdk
        return None

    def _homes(self) -> Iterator[Path]:
        for name, value in sorted(self.env.items()):
            if value and re.fullmatch(r"(JAVA|JDK|JAVA_?\d+|JDK_?\d+)_HOME(_\d+)?(_X64)?", name):
                yield Path(value)
        if on_path := shutil.which("java", path=self.env.get("PATH", "")):
            yield Path(on_path).resolve().parent.parent
        for pattern in self.places:
            expanded = Path(pattern.replace("~", self.env.get("HOME", "/nonexistent"), 1))
            anchor = Path(expanded.anchor)
            yield from sorted(anchor.glob(str(expanded.relative_to(anchor))))

    def _described(self, home: Path) -> Jdk | None:
        if not (home / "bin" / "java").is_file():
            return None
        release = home / "release"
        fields = _fields(release.read_text("utf-8")) if release.is_file() else {}
        text = fields.get("JAVA_VERSION") or self._asked(home, "-version")
        modules = fields.get("MODULES") or self._asked(home, "--list-modules")
        version = _VERSION.search(text.partition("version")[2] or text)
        if version is None:
            return None
        names = frozenset(each.partition("@")[0] for each in modules.split())
        return Jdk(home, int(version[1]), text.splitlines()[0], names)

    def _asked(self, home: Path, question: str) -> str:
        try:
            return self.command([str(home / "bin" / "java"), question])
        except (CommandFailedError, OSError):  # another machine's, or broken: as if not there
            return ""


def _fields(release: str) -> dict[str, str]:
    return dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', release, re.MULTILINE))
