"""Resolve `artifacts.toml` into `artifacts.lock.json`; for developers: `python -m stack.lock`.

Needed only when a version changes. Every file is downloaded and its checksum recorded, so the
change is reviewed as a diff of the lock file.
"""

from __future__ import annotations

import json
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stack.artifacts import MavenArtifact, Wheel, sha256_of
from stack.command import Command, SystemCommand
from stack.maven import DEPENDENCY_PLUGIN, project_of

# The poms of some jars name repositories of their own, long gone or unsafe: Central is enough.
_ONLY_CENTRAL = (
    "<settings><mirrors><mirror><id>none</id><url>file://{folder}</url>"
    "<mirrorOf>*,!central</mirrorOf></mirror></mirrors></settings>"
)

_KINDS = (".jar", ".zip", ".tar.gz")


def lock(wanted: Mapping[str, Mapping[str, Any]], command: Command) -> dict[str, Any]:
    """The lock file's content for the components in ``artifacts.toml``."""
    entries: dict[str, Any] = {}
    for name, component in wanted.items():
        entry: dict[str, Any] = {"version": component["version"]}
        if "maven" in component:
            entry["maven"] = [asdict(each) for each in _maven(component, command)]
        if "wheel" in component:
            entry["wheels"] = [asdict(_wheel(component["wheel"], command))]
        entries[name] = entry
    return entries


def _maven(component: Mapping[str, Any], command: Command) -> list[MavenArtifact]:
    pinned = [MavenArtifact(each, "", 0) for each in component["maven"]]
    alone = [MavenArtifact(each, "", 0) for each in component.get("maven_alone", ())]
    found = _copied(pinned, component, command)
    return sorted(
        [*found, *(_copied(alone, {}, command) if alone else ())],
        key=lambda each: each.coordinate,
    )


def _copied(
    artifacts: Sequence[MavenArtifact], component: Mapping[str, Any], command: Command
) -> list[MavenArtifact]:
    """What Maven resolves them to, as files with checksums."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty").mkdir()
        settings = folder / "settings.xml"
        settings.write_text(_ONLY_CENTRAL.format(folder=folder / "empty"), encoding="utf-8")
        pom = folder / "pom.xml"
        project = project_of(
            artifacts,
            transitive=component.get("transitive", False),
            without=component.get("without", ()),
            managed=[MavenArtifact(each, "", 0) for each in component.get("managed", ())],
        )
        pom.write_text(project, encoding="utf-8")
        out = folder / "out"
        command(
            ["mvn", "-B", "-q", "-gs", str(settings), "-f", str(pom),
             f"{DEPENDENCY_PLUGIN}:copy-dependencies", "-DincludeScope=runtime",
             "-Dmdep.useRepositoryLayout=true", f"-DoutputDirectory={out}"],
        )  # fmt: skip
        # Maven leaves its own notes beside the files; only the files matter.
        files = [path for path in out.rglob("*") if path.name.endswith(_KINDS)]
        return [_described(path, path.relative_to(out)) for path in files]


def _described(path: Path, place: Path) -> MavenArtifact:
    *group, name, version, file_name = place.parts
    rest = file_name.removeprefix(f"{name}-{version}")
    classifier, kind = rest.split(".", 1)
    coordinate = [".".join(group), name, kind, *filter(None, [classifier.lstrip("-")]), version]
    return MavenArtifact(":".join(coordinate), sha256_of(path), path.stat().st_size)


def _wheel(requirement: str, command: Command) -> Wheel:
    with tempfile.TemporaryDirectory() as folder:
        command(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
             "--only-binary=:all:", "-d", folder, requirement],
        )  # fmt: skip
        (path,) = Path(folder).iterdir()
        return Wheel(requirement, path.name, sha256_of(path), path.stat().st_size)


def main() -> None:
    """Write the lock file beside its source."""
    here = Path(__file__).parent
    wanted = tomllib.loads((here / "artifacts.toml").read_text("utf-8"))
    document = json.dumps(lock(wanted, SystemCommand()), indent=1) + "\n"
    (here / "artifacts.lock.json").write_text(document, encoding="utf-8")


if __name__ == "__main__":
    main()
