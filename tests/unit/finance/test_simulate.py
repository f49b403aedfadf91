"""Plans and schedules, without a database."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finance.simulate.change import Change
from finance.simulate.planner import Planner
from finance.simulate.schedule import Schedule, Until
from finance.simulate.studio import Studio, Title, Titles
from finance.tables import TITLES


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def plan(seed: int, transactions: int, commit_changes: int = 20) -> list[Sequence[Change]]:
    planner, studio = Planner(random.Random(seed), commit_changes), Studio()
    return [planner.next_transaction(studio) for _ in range(transactions)]


def shape(planned: list[Sequence[Change]]) -> list[object]:
    return [
        [(change.kind, change.table, change.operation, change.parameters) for change in transaction]
        for transaction in planned
    ]


def test_a_seed_plans_the_same_changes_again_and_another_seed_others() -> None:
    assert shape(plan(7, 300)) == shape(plan(7, 300))
    assert shape(plan(7, 300)) != shape(plan(8, 300))


def test_everything_that_can_happen_happens() -> None:
    kinds = Counter(c.kind for transaction in plan(7, 3000) for c in transaction)
    assert set(kinds) == {
        "move_launch", "reschedule", "review", "rename", "new_title", "cancel_title",
        "renumber_title", "revise_budget", "move_budget", "rewrite_budget", "book_cash",
        "correct_cash", "reverse_cash", "pay", "settle", "void", "hire", "new_contact",
    }  # fmt: skip


def test_launches_move_forth_and_back() -> None:
    dates: dict[int, list[object]] = {}
    for transaction in plan(7, 2000):
        for change in transaction:
            if change.kind == "move_launch" and change.table == "titles":
                row = change.parameters[0]
                dates.setdefault(row["old_title_id"], []).append(row["launch_date"])
    returns = sum(
        later == earlier
        for moved in dates.values()
        for earlier, later in zip(moved, moved[2:], strict=False)
    )
    assert returns > 20


@pytest.mark.parametrize("commit_changes", [1, 5, 200])
def test_transactions_are_of_mixed_size(commit_changes: Any) -> None:
    sizes = [sum(c.changes for c in transaction) for transaction in plan(7, 500, commit_changes)]
    assert min(sizes) == 1
    assert max(sizes) >= commit_changes
    assert len(set(sizes)) > 3


def test_every_change_counts_its_rows() -> None:
    for transaction in plan(7, 500):
        assert transaction
        for change in transaction:
            assert change.changes >= len(change.parameters) >= 1


def test_the_number_of_titles_stays_about_where_it_was() -> None:
    planner, studio = Planner(random.Random(3), 20), Studio()
    for _ in range(100):
        number = studio.next_id(TITLES)
        studio.titles.add(Title(number, f"Title {number}", None))
    for _ in range(3000):
        planner.next_transaction(studio)
        assert 95 <= len(studio.titles) <= 105


def test_amounts_stay_positive_and_exact() -> None:
    for transaction in plan(11, 2000):
        for change in transaction:
            for row in change.parameters:
                amount = row.get("amount")
                if amount is not None:
                    assert amount > 0
                    assert amount == amount.quantize(Decimal("0.01"))


@given(st.lists(st.integers(0, 9), max_size=60))
def test_a_set_of_titles_is_a_set(numbers: list[int]) -> None:
    titles, model = Titles(), dict[int, Title]()
    for number in numbers:
        if number in model:
            titles.remove(model.pop(number))
        else:
            model[number] = Title(number, "", None)
            titles.add(model[number])
        assert {title.title_id for title in titles} == set(model)
        assert len(titles) == len(model)
        assert all(titles[key] is title for key, title in model.items())


def test_the_schedule_is_absolute_so_a_slow_moment_is_caught_up_with() -> None:
    clock = Clock()
    schedule = Schedule(50.0, Until(seconds=10), clock)
    assert schedule.ahead_s(0) == 0
    assert schedule.ahead_s(100) == pytest.approx(2.0)
    clock.now_s += 5
    assert schedule.ahead_s(100) == pytest.approx(-3.0)
    assert schedule.elapsed_s == pytest.approx(5.0)


def test_a_wait_ends_with_the_run() -> None:
    schedule = Schedule(0.1, Until(seconds=3), Clock())
    assert schedule.ahead_s(1) == pytest.approx(3.0)


def test_a_run_is_over_by_time_or_by_number() -> None:
    clock = Clock()
    by_time, by_number = (Schedule(1, until, clock) for until in (Until(5), Until(changes=10)))
    assert not by_time.is_over(1_000_000)
    assert not by_number.is_over(9)
    assert by_number.is_over(10)
    clock.now_s += 5
    assert by_time.is_over(0)
    assert not by_number.is_over(9)
    assert not Schedule(1, Until(), clock).is_over(10**9)
