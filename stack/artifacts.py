"""What is downloaded, by coordinate and checksum: `artifacts.lock.json` in code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class MavenArtifact:
    """One file of a Maven repository: ``group:name:type[:classifier]:version``."""

    coordinate: str
    sha256: str
    size_bytes: int

    @property
    def parts(self) -> tuple[str, str, str, str, str]:
        """Group, name, type, classifier (may be empty), version."""
        group, name, kind, *classifier, version = self.coordinate.split(":")
        return group, name, kind, classifier[0] if classifier else "", version

    @property
    def file_name(self) -> str:
        """The file's name in any Maven repository."""
        _, name, kind, classifier, version = self.parts
        return f"{name}-{version}{'-' + classifier if classifier else ''}.{kind}"

    @property
    def repository_path(self) -> PurePosixPath:
        """The file's place in any Maven repository."""
        group, name, _, _, version = self.parts
        return PurePosixPath(*group.split("."), name, version, self.file_name)


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of the Python index."""

    requirement: str
    file_name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Locked:
    """Everything that one component is made of."""

    version: str
    maven: tuple[MavenArtifact, ...] = ()
    wheels: tuple[Wheel, ...] = ()

    @property
    def files(self) -> tuple[MavenArtifact | Wheel, ...]:
        """All of them."""
        return (*self.maven, *self.wheels)

    @property
    def size_bytes(self) -> int:
        """What a download of everything weighs."""
        return sum(each.size_bytes for each in self.files)

    @property
    def digest(self) -> str:
        """Changes when any file of the component does."""
        lines = sorted(each.sha256 for each in self.files)
        return hashlib.sha256("\n".join([self.version, *lines]).encode()).hexdigest()


def locked(document: Mapping[str, Any] | None = None) -> dict[str, Locked]:
    """The lock file, by component."""
    if document is None:
        document = json.loads(files("stack").joinpath("artifacts.lock.json").read_text("utf-8"))
    return {
        name: Locked(
            version=entry["version"],
            maven=tuple(MavenArtifact(**each) for each in entry.get("maven", ())),
            wheels=tuple(Wheel(**each) for each in entry.get("wheels", ())),
        )
        for name, entry in document.items()
    }


def sha256_of(path: Path) -> str:
    """The checksum of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def is_file_of(path: Path, artifact: MavenArtifact | Wheel) -> bool:
    """Is ``path`` that file, byte for byte?"""
    try:
        return path.stat().st_size == artifact.size_bytes and sha256_of(path) == artifact.sha256
    except OSError:
        return False
