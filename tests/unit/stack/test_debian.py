from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from callsheet.errors import FatalError, PreconditionError, UnavailableError
from stack.debian import Debian, Mirror
from tests.unit.stack.fakes import FakeCommand, Told, failing, put

DEB822 = """Types: deb
URIs: http://mirror.example/debian-security
Suites: stable-security
Signed-By: /keys/security.gpg

Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: stable
Signed-By: /keys/main.gpg
"""


def a_mirror() -> Mirror:
    return Mirror("http://mirror.example/debian", "/keys/main.gpg")


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("sources.list.d/debian.sources", DEB822, a_mirror()),
        (
            "sources.list",
            "deb [arch=amd64 signed-by=/keys/main.gpg] http://mirror.example/debian stable main\n",
            a_mirror(),
        ),
        (
            "sources.list",
            "# deb http://old.example/debian x\ndeb http://mirror.example/debian/ stable main\n",
            Mirror(
                "http://mirror.example/debian/", "/usr/share/keyrings/debian-archive-keyring.gpg"
            ),
        ),
    ],
)
def test_the_mirror_is_the_machines_own(
    tmp_path: Path, path: str, text: str, expected: Mirror
) -> None:
    put(tmp_path, path, text.encode())
    assert Mirror.of_machine(tmp_path, {}) == expected


def test_a_system_without_debian_sources_is_told_what_to_do(tmp_path: Path) -> None:
    put(tmp_path, "sources.list", b"deb http://mirror.example/ubuntu noble main\n")
    with pytest.raises(PreconditionError) as caught:
        Mirror.of_machine(tmp_path, {})
    assert "docker compose" in caught.value.hint
    given = {"CALLSHEET_DEBIAN_MIRROR": "http://given.example/debian"}
    assert Mirror.of_machine(tmp_path, given).uri == "http://given.example/debian"


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for program in ("apt-get", "dpkg-deb"):
        put(tmp_path, f"bin/{program}").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "apt"


def offering(folder: Path, *versions: str, content: bytes = b"package") -> FakeCommand:
    sha256 = hashlib.sha256(b"package").hexdigest()

    def behave(argv: Sequence[str]) -> str:
        if "madison" in argv:
            return "".join(f"mysql-server-core | {each} | sid/main\n" for each in versions)
        if "--print-uris" in argv:
            return f"Reading...\n'http://m.example/x_1.deb' x_1.deb 7 SHA256:{sha256}\n"
        if "--download-only" in argv:
            put(folder, "cache/archives/x_1.deb", content)
        return ""

    return FakeCommand(behave)


def test_the_newest_of_the_wanted_release_is_chosen(apt: Path) -> None:
    debian = Debian(offering(apt, "9.8.0-1", "9.7.5-1", "9.7.4-2"), apt, a_mirror)
    assert debian.version("mysql-server-core", "9.7.") == "9.7.5-1"
    assert "signed-by=/keys/main.gpg" in (apt / "sources.list").read_text()


@pytest.mark.parametrize(("versions", "words"), [(["10.0.1-1"], "10.0.1-1"), ([], "not at all")])
def test_when_the_release_is_gone_it_says_what_there_is(
    apt: Path, versions: list[str], words: str
) -> None:
    with pytest.raises(PreconditionError, match=words) as caught:
        Debian(offering(apt, *versions), apt, a_mirror).version("mysql-server-core", "9.7.")
    assert "docker compose" in caught.value.hint


def test_every_package_is_checked_against_the_signed_list(apt: Path) -> None:
    told = Told()
    debian = Debian(offering(apt, "9.7.4-2"), apt, a_mirror)
    (package,) = debian.fetch("mysql-server-core", "9.7.4-2", "mysql", told)
    assert (package.file_name, package.size_bytes) == ("x_1.deb", 7)
    assert told.advanced == [("mysql", 0, 7)]

    altered = Debian(offering(apt, "9.7.4-2", content=b"pack4ge"), apt, a_mirror)
    with pytest.raises(FatalError, match="signed list"):
        altered.fetch("mysql-server-core", "9.7.4-2", "mysql", told)
    assert not (apt / "cache/archives/x_1.deb").exists()


def test_the_machines_package_state_is_not_used(apt: Path) -> None:
    command = offering(apt, "9.7.4-2")
    Debian(command, apt, a_mirror).version("mysql-server-core", "9.7.")
    for call in command.calls:
        settings = dict(word.split("=", 1) for word in call if "::" in word)
        assert settings["Dir::State::status"].startswith(str(apt))
        assert settings["Dir::Etc::sourcelist"].startswith(str(apt))
        assert settings["Dir::Etc::sourceparts"] == "-"


@pytest.mark.parametrize(
    ("output", "error", "words"),
    [
        ("E: Failed to fetch http://m.example", UnavailableError, "Failed to fetch"),
        ("E: You don't have enough free space in /x", PreconditionError, "disk is full"),
    ],
)
def test_a_failure_is_one_clear_sentence(
    apt: Path, output: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Debian(FakeCommand(failing(output)), apt, a_mirror).version("p", "9.7.")


def test_without_apt_it_says_so(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PreconditionError, match="no apt-get"):
        Debian(FakeCommand(), apt, a_mirror).version("p", "9.7.")
