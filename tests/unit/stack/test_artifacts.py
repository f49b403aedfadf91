from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from stack.artifacts import MavenArtifact, is_file_of, locked
from tests.unit.stack.fakes import an_artifact, put


@pytest.mark.parametrize(
    ("coordinate", "path"),
    [
        ("a.b:c:jar:1.2", "a/b/c/1.2/c-1.2.jar"),
        ("a.b:c:tar.gz:plugin:1.2.Final", "a/b/c/1.2.Final/c-1.2.Final-plugin.tar.gz"),
    ],
)
def test_an_artifact_knows_its_place_in_a_repository(coordinate: str, path: str) -> None:
    assert str(MavenArtifact(coordinate, "", 0).repository_path) == path


def test_every_file_of_the_lock_has_a_checksum_and_a_size() -> None:
    for name, component in locked().items():
        assert component.files, name
        for file in component.files:
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256), (name, file)
            assert file.size_bytes > 0


def test_the_lock_holds_all_that_its_source_asks_for_and_nothing_twice() -> None:
    wanted = tomllib.loads(files("stack").joinpath("artifacts.toml").read_text("utf-8"))
    locks = locked()
    assert wanted.keys() == locks.keys()
    for name, component in wanted.items():
        coordinates = [each.coordinate for each in locks[name].maven]
        asked = {*component.get("maven", ()), *component.get("maven_alone", ())}
        assert asked <= set(coordinates)
        assert len(coordinates) == len(set(coordinates))
        assert [wheel.requirement for wheel in locks[name].wheels] == [
            *filter(None, [component.get("wheel")])
        ]
        assert locks[name].version == component["version"]


def test_the_digest_follows_every_file() -> None:
    document: dict[str, Any] = {
        "x": {
            "version": "1",
            "maven": [{"coordinate": "a:b:jar:1", "sha256": "0" * 64, "size_bytes": 1}],
        }
    }
    before = locked(document)["x"].digest
    document["x"]["maven"][0]["sha256"] = "1" * 64
    assert locked(document)["x"].digest != before


def test_a_file_counts_only_byte_for_byte(tmp_path: Path) -> None:
    artifact = an_artifact("a:b:jar:1", b"content")
    assert is_file_of(put(tmp_path, "same", b"content"), artifact)
    assert not is_file_of(put(tmp_path, "other", b"contenT"), artifact)
    assert not is_file_of(put(tmp_path, "longer", b"content."), artifact)
    assert not is_file_of(tmp_path / "absent", artifact)
