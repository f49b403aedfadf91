"""Law 3: the changes of one ID take effect in log order, whatever is in the ID."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from callsheet.event import Op
from callsheet.sink import Counts, Sink
from callsheet.testing.batches import Row, a_batch, delete, upsert
from callsheet.testing.destination import Destination, Ledger, within
from callsheet.testing.laws.base import Laws


class OrderLaws(Laws):
    # --- 3: one ID in log order -------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("changes", "left"),
        [
            ("uud", {}),
            ("dc", {"1": "c2"}),
            ("cud", {}),
            ("cudc", {"1": "c4"}),
            ("uuu", {"1": "u3"}),
        ],
    )
    @pytest.mark.parametrize("is_one_batch", [True, False], ids=["one batch", "a batch each"])
    def test_the_last_change_stays(
        self,
        destination: Destination,
        sink: Sink,
        ledger: Ledger,
        changes: str,
        left: Mapping[str, str],
        is_one_batch: bool,
    ) -> None:
        rows = [
            Row(Op(op), "1", None if op == "d" else {"id": 1, "name": f"{op}{n}"}, version=n)
            for n, op in enumerate(changes, 1)
        ]
        if is_one_batch:
            batches = [a_batch(rows, destination.schema)]
        else:
            batches = [
                a_batch([row], destination.schema, first_offset=n) for n, row in enumerate(rows)
            ]
        self.put(sink, ledger, *batches)
        assert destination.names() == left
        assert ledger.total() == len(rows)

    def test_the_highest_version_wins_not_the_last_row(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        rows = [upsert(1, name="new", version=9), upsert(1, name="repeat", version=4)]
        self.put(sink, ledger, a_batch(rows, destination.schema))
        assert destination.names() == {"1": "new"}
        assert ledger.counts == self.expected(
            states=Counts(written=1, superseded=1), changes=Counts(written=2)
        )

    def test_a_repeat_that_runs_backwards_over_batches(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        new = a_batch([upsert(1, name="new", version=9)], destination.schema)
        old = a_batch([upsert(1, name="old", version=4)], destination.schema, first_offset=1)
        self.put(sink, ledger, new, old)
        assert destination.names() == {"1": "new"}
        assert ledger.counts == self.expected(
            states=Counts(written=1, stale=1), changes=Counts(written=2)
        )

    def test_many_batches_of_the_same_ids_in_a_row(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        for n in range(30):
            rows = [upsert(i, name=f"{n}", version=n * 100 + i + 1) for i in range(70)]
            sink.write(a_batch(rows, destination.schema, first_offset=n * 70), within(20))
        sink.flush(within(30))
        ledger.look()
        assert destination.names() == dict.fromkeys(map(str, range(70)), "29")
        assert ledger.counts == Counts(written=30 * 70)

    def test_a_replay_does_not_bring_a_deleted_row_back(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        born = a_batch([upsert(1, name="born", version=1)], destination.schema)
        died = a_batch([delete(1, version=2)], destination.schema, first_offset=1)
        self.put(sink, ledger, born, died)
        self.put(sink, ledger, born)
        assert destination.names() == {}
        back = a_batch([upsert(1, name="again", version=3)], destination.schema, first_offset=2)
        self.put(sink, ledger, back)
        assert destination.names() == {"1": "again"}

    def test_a_delete_of_what_was_never_there_is_remembered(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        gone = a_batch([delete(1, version=5)], destination.schema)
        late = a_batch([upsert(1, name="late", version=4)], destination.schema, first_offset=1)
        self.put(sink, ledger, gone, late)
        assert destination.names() == {}
        assert ledger.counts == self.expected(
            states=Counts(written=1, stale=1), changes=Counts(written=2)
        )

    def test_null_stays_null_and_empty_stays_empty(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        rows = [upsert(1, name=None), upsert(2, name=""), upsert(3, name='"\\\n\x00é😀')]
        self.put(sink, ledger, a_batch(rows, destination.schema))
        assert destination.names() == {"1": None, "2": "", "3": '"\\\n\x00é😀'}

    def test_ids_that_need_escaping_stay_apart(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        ids = ['a"b', "a\\b", "a|b", "%-", "é😀", "x" * 600 + "1", "x" * 600 + "2", "{}"]
        rows = [upsert(i, name=str(n)) for n, i in enumerate(ids)]
        self.put(sink, ledger, a_batch(rows, destination.schema))
        assert destination.names() == {i: str(n) for n, i in enumerate(ids)}
