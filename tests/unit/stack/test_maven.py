from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from callsheet.errors import FatalError, PreconditionError, UnavailableError
from stack.maven import Maven, project_of
from tests.unit.stack.fakes import FakeCommand, Told, an_artifact, failing, put

ONE = an_artifact("a.b:one:jar:1", b"first")
TWO = an_artifact("a.b:two:tar.gz:plugin:2", b"second")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    put(tmp_path, "bin/mvn").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "private", tmp_path / "own"


def serving(folder: Path, **contents: bytes) -> FakeCommand:
    def download(argv: Sequence[str]) -> str:
        for artifact in (ONE, TWO):
            name = artifact.parts[1]
            if name in contents:
                put(folder, str(artifact.repository_path), contents[name])
        return ""

    return FakeCommand(download)


def test_what_the_users_repository_holds_is_not_fetched_again(folders: tuple[Path, Path]) -> None:
    private, own = folders
    put(own, str(ONE.repository_path), b"first")
    command = FakeCommand()
    found = Maven(command, private, own).fetch([ONE], "t", Told())
    assert found == {ONE: own / ONE.repository_path}
    assert command.calls == []


def test_a_damaged_file_in_the_users_repository_is_fetched_instead(
    folders: tuple[Path, Path],
) -> None:
    private, own = folders
    put(own, str(ONE.repository_path), b"fir5t")
    found = Maven(serving(private, one=b"first"), private, own).fetch([ONE], "t", Told())
    assert found == {ONE: private / ONE.repository_path}


def test_only_what_is_missing_is_asked_for(folders: tuple[Path, Path]) -> None:
    private, own = folders
    put(own, str(ONE.repository_path), b"first")
    command = serving(private, two=b"second")
    Maven(command, private, own).fetch([ONE, TWO], "t", Told())
    (call,) = command.calls
    pom = Path(call[call.index("-f") + 1]).read_text()
    assert "<artifactId>two</artifactId>" in pom
    assert "<artifactId>one</artifactId>" not in pom


def test_progress_counts_running_downloads(folders: tuple[Path, Path]) -> None:
    private, own = folders
    put(private, f"{TWO.repository_path}.1234.tmp", b"sec")
    told = Told()
    Maven(serving(private, two=b"second"), private, own).fetch([TWO], "task", told)
    assert told.advanced == [("task", 3, 6)]
    assert told.finished == ["task"]


def test_a_file_with_another_checksum_is_thrown_away(folders: tuple[Path, Path]) -> None:
    private, own = folders
    with pytest.raises(FatalError, match="checksum differs"):
        Maven(serving(private, one=b"f1rst"), private, own).fetch([ONE], "t", Told())
    assert not (private / ONE.repository_path).exists()


def test_without_maven_it_says_what_to_install(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PreconditionError) as caught:
        Maven(FakeCommand(), *folders).fetch([ONE], "t", Told())
    assert "apt-get install maven" in caught.value.hint


@pytest.mark.parametrize(
    ("output", "error", "words"),
    [
        ("[ERROR] Could not transfer artifact a.b:one\n[ERROR] more", UnavailableError, "transfer"),
        ("[ERROR] write failed: No space left on device", PreconditionError, "disk is full"),
    ],
)
def test_a_failure_is_one_clear_sentence(
    folders: tuple[Path, Path], output: str, error: type[Exception], words: str
) -> None:
    told = Told()
    with pytest.raises(error, match=words):
        Maven(FakeCommand(failing(output)), *folders).fetch([ONE], "t", told)
    assert told.finished == ["t"]


def test_forgetting_leaves_the_users_repository_alone(folders: tuple[Path, Path]) -> None:
    private, own = folders
    put(own, str(ONE.repository_path), b"first")
    put(private, str(ONE.repository_path), b"first")
    Maven(FakeCommand(), private, own).forget([ONE])
    assert not (private / ONE.repository_path).exists()
    assert (own / ONE.repository_path).exists()


def test_a_project_names_files_alone_unless_asked_to_follow_them() -> None:
    assert "<exclusion><groupId>*</groupId><artifactId>*</artifactId>" in project_of([ONE])
    followed = project_of([ONE], transitive=True, without=["bad:*"], managed=[TWO])
    assert "<exclusion><groupId>bad</groupId>" in followed
    assert "<groupId>*</groupId>" not in followed
    assert followed.index("two") < followed.index("</dependencyManagement>") < followed.index("one")
