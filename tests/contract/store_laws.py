"""The promises of :class:`sinks.hive.stores.port.Store`, for every store."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest

from sinks.hive.stores.port import LostFileError, Store


class StoreLaws:
    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    @pytest.fixture
    def another(self) -> Store:
        """A second client of the same root."""
        raise NotImplementedError

    def test_a_check_leaves_nothing_behind(self, store: Store) -> None:
        store.check()
        store.check()
        assert store.names("") in ([], ["_callsheet"])
        assert store.names("_callsheet") == []

    def test_what_was_put_is_there_whole(self, store: Store) -> None:
        content = BytesIO(os.urandom(3_000_001))
        content.read()  # it is taken from its beginning all the same
        store.put("a/b/c.parquet", content)
        assert store.read("a/b/c.parquet") == content.getvalue()
        assert store.size("a/b/c.parquet") == 3_000_001
        store.put("a/b/c.parquet", BytesIO(b"again"))
        assert store.read("a/b/c.parquet") == b"again"

    def test_an_empty_file_is_a_file(self, store: Store) -> None:
        store.replace("marks/x", b"")
        assert (store.read("marks/x"), store.size("marks/x")) == (b"", 0)
        assert store.names("marks") == ["x"]

    def test_of_two_creators_the_second_changes_nothing(self, store: Store, another: Store) -> None:
        assert store.create("ranges/lane/1.json", b"first")
        assert not another.create("ranges/lane/1.json", b"second")
        assert not store.create("ranges/lane/1.json", b"third")
        assert another.read("ranges/lane/1.json") == b"first"
        assert store.names("ranges/lane") == ["1.json"]

    def test_of_many_creators_at_once_one_wins(self, store: Store, another: Store) -> None:
        with ThreadPoolExecutor(8) as pool:
            for race in range(5):
                won = list(
                    pool.map(
                        lambda n, race=race: (another if n % 2 else store).create(
                            f"races/{race}", str(n).encode()
                        ),
                        range(8),
                    )
                )
                assert won.count(True) == 1
                assert store.read(f"races/{race}") == str(won.index(True)).encode()

    def test_a_small_file_is_replaced(self, store: Store) -> None:
        for text in (b"one", b"two"):
            store.replace("marks/lane", text)
            assert store.read("marks/lane") == text
        assert store.names("marks") == ["lane"]

    def test_a_move_is_seen_once_and_may_be_repeated(self, store: Store, another: Store) -> None:
        store.put("staging/f", BytesIO(b"rows"))
        store.move("staging/f", "table/event_date=2026-01-01/f")
        assert store.read("table/event_date=2026-01-01/f") == b"rows"
        assert store.read("staging/f") is None
        another.move("staging/f", "table/event_date=2026-01-01/f")
        assert store.names("table/event_date=2026-01-01") == ["f"]

    def test_a_move_of_nothing_is_told(self, store: Store) -> None:
        with pytest.raises(LostFileError):
            store.move("staging/none", "table/none")

    def test_what_is_not_there(self, store: Store) -> None:
        assert store.read("none") is None
        assert store.size("none") is None
        assert store.names("none") == []
        store.remove("none")
        store.remove("none/below")

    def test_names_are_sorted_and_begin_after_a_name(self, store: Store) -> None:
        names = [f"{n:04d}.json" for n in range(30)]
        for name in reversed(names):
            store.replace(f"list/{name}", b"x")
        store.replace("list/sub/below", b"x")
        store.replace("listing/else", b"x")
        assert store.names("list") == [*names, "sub"]
        assert store.names("list", after=names[11]) == [*names[12:], "sub"]
        assert store.names("list", after="0011.json~") == [*names[12:], "sub"]
        assert store.names("list", after="zzz") == []

    def test_a_folder_is_removed_with_all_in_it_and_can_be_made_again(self, store: Store) -> None:
        for name in ("s/lane/w1/a", "s/lane/w1/b", "s/lane/w2/a", "s/lane-2/w/a"):
            store.replace(name, b"x")
        store.remove("s/lane/w1")
        assert store.names("s/lane") == ["w2"]
        store.remove("s/lane")
        assert store.names("s/lane") == []
        assert store.names("s/lane-2") == ["w"]
        store.replace("s/lane/w1/a", b"new")
        assert store.read("s/lane/w1/a") == b"new"

    def test_names_may_hold_what_urls_and_shells_do_not_like(self, store: Store) -> None:
        path = "t/event_date=2026-01-01/a b%20c+d'é&e-0.parquet"
        store.put(path, BytesIO(b"x"))
        assert store.names("t/event_date=2026-01-01") == [path.rsplit("/", 1)[1]]
        store.move(path, "t/moved é%")
        assert store.read("t/moved é%") == b"x"
