from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from stack.advice import Advice
from stack.jdk import JavaRequirement, JdkSearch
from tests.unit.stack.fakes import FakeCommand, failing, put

FULL = "java.base jdk.jlink jdk.incubator.vector"


def a_jdk(folder: Path, version: str, modules: str = FULL) -> Path:
    put(folder, "bin/java").chmod(0o755)
    put(folder, "release", f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n'.encode())
    return folder


def search(env: dict[str, str], *places: Path) -> JdkSearch:
    return JdkSearch(env, FakeCommand(), tuple(map(str, places)))


def test_looks_at_variables_path_and_places_and_finds_each_once(tmp_path: Path) -> None:
    a_jdk(tmp_path / "a", "17.0.15")
    a_jdk(tmp_path / "b", "21.0.2")
    a_jdk(tmp_path / "c", "25")
    a_jdk(tmp_path / "d", "1.8.0_402")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    env = {
        "JAVA_HOME": str(tmp_path / "link"),
        "JDK21_HOME": str(tmp_path / "b"),
        "PATH": str(tmp_path / "c/bin"),
        "OTHER_HOME": str(tmp_path / "nothing"),
    }
    found = search(env, tmp_path / "[ad]").every()
    assert [jdk.version for jdk in found] == [25, 21, 17, 8]
    assert [jdk.home.name for jdk in found] == ["c", "b", "a", "d"]


def test_the_newest_that_fits_is_chosen(tmp_path: Path) -> None:
    for version in ("17", "21", "25"):
        a_jdk(tmp_path / version, version)
    all_of_them = search({}, tmp_path / "*")
    newest = all_of_them.choose(JavaRequirement(17))
    bounded = all_of_them.choose(JavaRequirement(17, at_most=23))
    assert newest is not None
    assert newest.version == 25
    assert bounded is not None
    assert bounded.version == 21
    assert all_of_them.choose(JavaRequirement(26)) is None


def test_a_trimmed_runtime_is_no_full_jdk(tmp_path: Path) -> None:
    a_jdk(tmp_path / "trimmed", "25", modules="java.base java.sql")
    found = search({}, tmp_path / "*")
    assert found.choose(JavaRequirement(21)) is not None
    assert found.choose(JavaRequirement(21, modules=frozenset({"jdk.jlink"}))) is None


def test_another_user_must_be_able_to_reach_it(tmp_path: Path) -> None:
    a_jdk(tmp_path / "closed" / "jdk", "25")
    (tmp_path / "closed").chmod(0o700)
    found = search({}, tmp_path / "closed" / "*")
    assert found.choose(JavaRequirement(21)) is not None
    assert found.choose(JavaRequirement(21), any_user=True) is None


def test_without_a_release_file_java_itself_is_asked(tmp_path: Path) -> None:
    put(tmp_path, "odd/bin/java").chmod(0o755)

    def java(argv: Sequence[str]) -> str:
        asked_for_version = argv[-1] == "-version"
        return (
            'openjdk version "21.0.3" 2024' if asked_for_version else "java.base@21\njdk.jlink@21"
        )

    (jdk,) = JdkSearch({"JAVA_HOME": str(tmp_path / "odd")}, FakeCommand(java), ()).every()
    assert (jdk.version, jdk.modules) == (21, frozenset({"java.base", "jdk.jlink"}))


def test_a_broken_java_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    put(tmp_path, "odd/bin/java").chmod(0o755)
    broken = FakeCommand(failing("exec format error"))
    assert JdkSearch({"JAVA_HOME": str(tmp_path / "odd")}, broken, ()).every() == []


@pytest.fixture
def apt_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "bin/apt-cache").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def policy(*offered: str) -> FakeCommand:
    def answer(argv: Sequence[str]) -> str:
        known = {name: "1.0" if name in offered else "(none)" for name in argv[2:]}
        return "".join(
            f"{name}:\n  Installed: (none)\n  Candidate: {version}\n  Version table:\n"
            for name, version in known.items()
        )

    return FakeCommand(answer)


@pytest.mark.usefixtures("apt_cache")
def test_what_apt_can_provide_is_offered_as_a_command() -> None:
    advice = Advice(policy("openjdk-21-jdk-headless", "openjdk-17-jdk-headless"))
    error = advice.missing_java("Elasticsearch", JavaRequirement(21))
    assert error.message == "Elasticsearch needs Java 21 or newer, and none was found."
    assert "apt-get install openjdk-21-jdk-headless" in error.hint
    assert "--install" in error.hint


@pytest.mark.usefixtures("apt_cache")
def test_where_apt_has_none_it_says_where_to_get_one() -> None:
    error = Advice(policy("openjdk-17-jdk-headless")).missing_java(
        "Elasticsearch", JavaRequirement(21)
    )
    assert "Temurin 25" in error.hint
    assert "JDK25_HOME" in error.hint
    hive = Advice(policy()).missing_java("HiveServer2", JavaRequirement(17, at_most=23))
    assert "Java 17 to 23" in hive.message
    assert "Temurin 21" in hive.hint
