from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from callsheet.errors import PreconditionError, UnavailableError
from stack import store as store_module
from stack.components import Tools
from stack.store import Store, version_in
from tests.unit.stack.fakes import Told, put

TOOLS = cast("Tools", None)


@dataclass
class FakeComponent:
    name: str = "thing"
    digest: str = "d1"
    download_bytes: int = 10
    fill: Callable[[Path], object] = lambda folder: put(folder, "bin/run", b"run")
    built: int = 0
    forgotten: int = 0
    seen: list[str] = field(default_factory=list)

    def build(self, folder: Path, tools: Tools, progress: object) -> Mapping[str, object]:
        self.built += 1
        self.seen = [path.name for path in folder.iterdir()]
        self.fill(folder)
        return {"version": f"v{self.built}"}

    def forget(self, tools: Tools) -> None:
        self.forgotten += 1


def a_store(cache: Path, *components: FakeComponent) -> Store:
    return Store(cache, {each.name: each for each in components}, TOOLS)


def test_fetched_once(tmp_path: Path) -> None:
    component = FakeComponent()
    for _ in range(2):
        a_store(tmp_path, component).fetch(["thing"], Told())
    assert (component.built, component.forgotten) == (1, 1)
    store = a_store(tmp_path, component)
    assert (store.folder("thing") / "bin/run").read_bytes() == b"run"
    assert version_in(store.folder("thing")) == "v1"


def test_what_is_complete_is_not_even_looked_at_again(tmp_path: Path) -> None:
    a_store(tmp_path, FakeComponent()).fetch(["thing"], Told())
    told = Told()
    (tmp_path / "lock").unlink()
    a_store(tmp_path, FakeComponent()).fetch(["thing"], told)
    assert told.said == []
    assert not (tmp_path / "lock").exists()


def test_another_digest_replaces_the_folder_whole(tmp_path: Path) -> None:
    a_store(tmp_path, FakeComponent()).fetch(["thing"], Told())
    newer = FakeComponent(digest="d2", fill=lambda folder: put(folder, "other"))
    store = a_store(tmp_path, newer)
    assert store.missing(["thing"]) == ["thing"]
    store.fetch(["thing"], Told())
    assert sorted(p.name for p in store.folder("thing").iterdir()) == [
        "callsheet-component.json",
        "other",
    ]


def test_an_interruption_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        put(folder, "half")
        raise KeyboardInterrupt

    component = FakeComponent(fill=interrupted)
    with pytest.raises(KeyboardInterrupt):
        a_store(tmp_path, component).fetch(["thing"], Told())
    store = a_store(tmp_path, again := FakeComponent())
    assert store.missing(["thing"]) == ["thing"]
    assert component.forgotten == 0  # the downloads stay, to be gone on with
    store.fetch(["thing"], Told())
    assert again.seen == []
    assert not (store.folder("thing") / "half").exists()


def test_one_that_fails_does_not_undo_the_others(tmp_path: Path) -> None:
    def offline(_: Path) -> None:
        raise UnavailableError("no network")

    store = a_store(tmp_path, FakeComponent("good"), FakeComponent("bad", fill=offline))
    with pytest.raises(UnavailableError):
        store.fetch(["good", "bad"], Told())
    assert store.missing(["good", "bad"]) == ["bad"]


def test_everything_is_readable_for_every_user(tmp_path: Path) -> None:
    def private(folder: Path) -> None:
        put(folder, "sub/program").chmod(0o700)
        (folder / "sub").chmod(0o700)
        put(folder, "sub/data").chmod(0o600)

    a_store(tmp_path, FakeComponent(fill=private)).fetch(["thing"], Told())
    sub = tmp_path / "components/thing/sub"
    modes = {path.name: path.stat().st_mode & 0o777 for path in (sub, *sub.iterdir())}
    assert modes == {"sub": 0o755, "program": 0o755, "data": 0o644}


def test_too_little_space_is_said_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "free_bytes", lambda _: 5 << 20)
    component = FakeComponent(download_bytes=100 << 20)
    with pytest.raises(PreconditionError, match="5 MiB free") as caught:
        a_store(tmp_path, component).fetch(["thing"], Told())
    assert "CALLSHEET_CACHE_DIR" in caught.value.hint
    assert component.built == 0


def test_a_disk_that_fills_up_meanwhile_is_one_clear_sentence(tmp_path: Path) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(PreconditionError, match="is full"):
        a_store(tmp_path, FakeComponent(fill=full)).fetch(["thing"], Told())
