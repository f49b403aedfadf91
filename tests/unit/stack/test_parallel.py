from __future__ import annotations

import threading

import pytest

from callsheet.errors import UnavailableError
from stack import parallel
from stack.parallel import run_in_order


def test_each_after_what_it_needs_and_the_rest_at_once() -> None:
    order: list[str] = []
    meet = threading.Barrier(2, timeout=10)

    def work(name: str, _: threading.Event) -> None:
        if name in {"a", "b"}:
            meet.wait()  # passes only when both run at the same time
        order.append(name)

    run_in_order({"late": ["a"], "a": (), "b": ()}, work)
    assert order.index("a") < order.index("late")
    assert sorted(order) == ["a", "b", "late"]


def test_a_failure_stops_only_those_that_need_it_and_is_raised_at_the_end() -> None:
    done: list[str] = []

    def work(name: str, _: threading.Event) -> None:
        if name == "bad":
            raise UnavailableError("bad is away")
        done.append(name)

    with pytest.raises(UnavailableError, match="bad is away"):
        run_in_order({"needs-bad": ["bad"], "bad": (), "other": ()}, work)
    assert done == ["other"]


def test_ctrl_c_tells_the_others_and_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    def work(_: str, cancelled: threading.Event) -> None:
        assert cancelled.wait(10)
        ended.set()

    monkeypatch.setattr(parallel, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_in_order({"a": ()}, work)
    assert ended.is_set()


def test_nothing_to_do() -> None:
    run_in_order({}, lambda *_: pytest.fail("called"))
