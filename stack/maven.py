"""Maven artifacts, fetched by the machine's own `mvn` (its mirrors and proxies apply)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from callsheet.errors import FatalError, PreconditionError, UnavailableError
from stack.artifacts import MavenArtifact, is_file_of
from stack.command import Command, CommandFailedError, last_words
from stack.progress import Progress

DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
_FULL_DISK = "No space left on device"


@dataclass(frozen=True, slots=True)
class Maven:
    """Fetches exactly the named files, nothing they depend on, and verifies each.

    ``downloads`` is a private repository: an interrupted download stays there and is resumed.
    ``local`` is the user's own repository: what it already holds is used, not fetched again.
    """

    command: Command
    downloads: Path
    local: Path

    def fetch(
        self, artifacts: Sequence[MavenArtifact], task: str, progress: Progress
    ) -> dict[MavenArtifact, Path]:
        """Where each file is. Every one has the checksum of the lock file."""
        found = {each: path for each in artifacts if (path := self._find(each))}
        missing = [each for each in artifacts if each not in found]
        if missing:
            self._download(missing, task, progress)
            found |= {each: self._verified(each) for each in missing}
        return found

    def forget(self, artifacts: Sequence[MavenArtifact]) -> None:
        """Drop downloads that have been unpacked; the user's own repository is left alone."""
        for each in artifacts:
            shutil.rmtree((self.downloads / each.repository_path).parent, ignore_errors=True)

    def _find(self, artifact: MavenArtifact) -> Path | None:
        for repository in (self.downloads, self.local):
            path = repository / artifact.repository_path
            if is_file_of(path, artifact):
                return path
        return None

    def _verified(self, artifact: MavenArtifact) -> Path:
        path = self.downloads / artifact.repository_path
        if is_file_of(path, artifact):
            return path
        path.unlink(missing_ok=True)
        raise FatalError(
            f"{artifact.coordinate} is not the file that it should be: its checksum differs.",
            hint="It was thrown away. Run it again; should that repeat, the Maven mirror in use "
            "serves something else.",
        )

    def _download(self, artifacts: Sequence[MavenArtifact], task: str, progress: Progress) -> None:
        if shutil.which("mvn") is None:
            raise PreconditionError(
                "Maven is not installed, and the servers' jars come through it.",
                hint="Install it (Debian, Ubuntu: apt-get install maven), then run it again.",
            )
        total = sum(each.size_bytes for each in artifacts)
        self.downloads.mkdir(parents=True, exist_ok=True)
        pom = self.downloads / f"{task}.pom.xml"
        pom.write_text(project_of(artifacts), encoding="utf-8")
        try:
            self.command(
                ["mvn", "-B", "-q", f"-Dmaven.repo.local={self.downloads}", "-f", str(pom),
                 f"{DEPENDENCY_PLUGIN}:resolve"],
                tick=lambda: progress.advance(task, self._arrived(artifacts), total),
            )  # fmt: skip
        except CommandFailedError as error:
            raise _translated(error) from error
        finally:
            progress.finish(task)

    def _arrived(self, artifacts: Sequence[MavenArtifact]) -> int:
        """Bytes there so far, the temporary files of running downloads included."""
        folders = {(self.downloads / each.repository_path).parent for each in artifacts}
        names = {each.file_name for each in artifacts}
        arrived = 0
        for folder in folders:
            for path in folder.glob("*") if folder.is_dir() else ():
                if any(path.name == name or path.name.startswith(f"{name}.") for name in names):
                    arrived += _size(path)
        return arrived


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a temporary file, renamed since it was listed
        return 0


def _translated(error: CommandFailedError) -> Exception:
    if _FULL_DISK in error.output:
        return PreconditionError(
            "The disk is full: Maven could not store what it downloaded.",
            hint="Make room, then run it again: it goes on where it stopped.",
        )
    errors = [line for line in error.output.splitlines() if line.startswith("[ERROR]")]
    return UnavailableError(
        f"Maven could not download the servers' jars: {(errors or [last_words(error.output)])[0]}",
        hint="Look at the network, and at the mirrors in ~/.m2/settings.xml; then run it again: "
        "it goes on where it stopped.",
    )


def project_of(
    artifacts: Sequence[MavenArtifact],
    *,
    transitive: bool = False,
    without: Sequence[str] = (),
    managed: Sequence[MavenArtifact] = (),
) -> str:
    """A project that depends on the artifacts; on nothing else unless ``transitive``.

    ``without``: ``group:name`` patterns never to follow; ``managed``: versions that win.
    """
    excluded = without if transitive else ["*:*"]
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>\n'
        "<groupId>callsheet.stack</groupId><artifactId>servers</artifactId><version>1</version>"
        "<packaging>pom</packaging>\n<dependencyManagement><dependencies>\n"
        + "\n".join(_dependency(each, ()) for each in managed)
        + "\n</dependencies></dependencyManagement>\n<dependencies>\n"
        + "\n".join(_dependency(each, excluded) for each in artifacts)
        + "\n</dependencies></project>\n"
    )


def _dependency(artifact: MavenArtifact, excluded: Sequence[str]) -> str:
    group, name, kind, classifier, version = map(escape, artifact.parts)
    named = f"<classifier>{classifier}</classifier>" if classifier else ""
    exclusions = "".join(map(_exclusion, excluded))
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
        f"<version>{version}</version><type>{kind}</type>{named}"
        f"<exclusions>{exclusions}</exclusions></dependency>"
    )


def _exclusion(pattern: str) -> str:
    group, name = map(escape, pattern.split(":"))
    return f"<exclusion><groupId>{group}</groupId><artifactId>{name}</artifactId></exclusion>"
