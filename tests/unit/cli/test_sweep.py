"""`callsheet sweep`: what it is put together from, and what it shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from rich.console import Console

from callsheet.cli import sweep_runs
from callsheet.cli import sweep_view as view
from callsheet.cli.sweep_capture import ConnectCapture, connector_name
from callsheet.cli.sweep_parts import scene_of, truncatable
from callsheet.cli.sweep_runs import News
from callsheet.config.loading import Pipeline, load
from callsheet.errors import PreconditionError, UnavailableError, UsageError
from callsheet.sweep.sweep import Found, Outcome, Verdict
from callsheet.sweep.watermark import Cause, Place, Watermark
from connectors.client import ConnectClient
from sinks import plugin
from tests.support.clock import FakeClock

MARK = Watermark(Cause.SNAPSHOT, Place("binlog.000003", 157))
NAME = "finance-mysql"


# --- the connector ------------------------------------------------------------------------------


def a_connect(offset: Mapping[str, Any] | None, **config: str) -> ConnectClient:
    """Connect with one connector, which has committed this offset."""
    settings = {"topic.prefix": "studio", **config}
    listed = {NAME: {"info": {"config": settings}, "status": None}}
    offsets = [] if offset is None else [{"partition": {"server": "studio"}, "offset": offset}]
    answers: Mapping[str, Any] = {
        "/connectors": listed,
        f"/connectors/{NAME}/config": settings,
        f"/connectors/{NAME}/offsets": {"offsets": offsets},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        found = answers.get(request.url.path)
        return httpx.Response(404 if found is None else 200, json=found or {"message": "none"})

    transport = httpx.MockTransport(answer)
    return ConnectClient("http://connect", transport=transport, clock=FakeClock())


def test_a_connector_that_streams_has_settled_where_its_offset_is() -> None:
    connect = a_connect({"file": "binlog.000007", "pos": 42, "row": 3})
    assert ConnectCapture(connect, NAME).settled() == Place("binlog.000007", 42)


@pytest.mark.parametrize(
    "offset",
    [None, {"file": "binlog.000007", "pos": 42, "snapshot": "INITIAL"}, {"transaction_id": None}],
    ids=["no offset", "in a snapshot", "no place"],
)
def test_a_connector_without_a_completed_snapshot_has_not(offset: Any) -> None:
    with pytest.raises(PreconditionError) as caught:
        ConnectCapture(a_connect(offset), NAME).settled()
    assert "has not completed its snapshot" in caught.value.message


def test_a_snapshot_that_leaves_rows_out_is_no_ground_to_delete_them() -> None:
    for setting in ("snapshot.include.collection.list", "snapshot.select.statement.overrides"):
        connect = a_connect({"file": "binlog.000007", "pos": 42}, **{setting: "finance.titles"})
        with pytest.raises(PreconditionError) as caught:
            ConnectCapture(connect, NAME).settled()
        assert setting in caught.value.message


def test_the_connector_is_the_one_that_writes_to_the_topics() -> None:
    connect = a_connect({})
    assert connector_name(connect, "studio", None) == NAME
    assert connector_name(connect, "studio", NAME) == NAME
    for prefix, given in (("other", None), ("other", NAME), ("studio", "nobody")):
        with pytest.raises(UsageError) as caught:
            connector_name(connect, prefix, given)
        assert "--connector" in caught.value.hint
    with pytest.raises(UsageError):
        ConnectCapture(connect, "nobody").settled()


# --- the pipelines ------------------------------------------------------------------------------


def a_pipeline(folder: Path, name: str, **changes: Any) -> Path:
    document: dict[str, Any] = {
        "name": name,
        "source": {
            "format": "json",
            "topic_prefix": "studio",
            "topics": ["studio.finance.titles", "studio.finance.talent"],
        },
        "kafka": {"bootstrap_servers": "localhost:1"},
        "sink": {"type": "discard"},
    }
    for key, value in changes.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) else value
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps(document))
    return file


def swept(*tables: str) -> dict[str, Any]:
    return {"truncate": "sweep", "truncate_tables": [f"finance.{table}" for table in tables]}


TITLES = {"topics": ["studio.finance.titles"]}
TALENT = {"topics": ["studio.finance.talent"]}


@pytest.mark.parametrize(
    ("pipelines", "allowed"),
    [
        ([{}], set()),
        ([{"truncate": "skip"}], set()),
        ([swept("titles")], {"finance.titles"}),
        ([swept("titles", "talent"), swept("titles")], {"finance.titles"}),
        ([swept("titles"), {"truncate": "skip"}], {"finance.titles"}),
        ([swept("titles"), {"truncate": "park"}], set()),
        ([swept("titles"), {"truncate": "park", "source": TALENT}], {"finance.titles"}),
        ([{**swept("titles"), "source": TALENT}, {"source": TITLES}], set()),
    ],
)
def test_a_truncate_is_swept_if_every_reader_agrees_and_one_lists_the_table(
    tmp_path: Path, pipelines: list[dict[str, Any]], allowed: set[str]
) -> None:
    loaded: list[Pipeline] = [
        load(a_pipeline(tmp_path, f"p{number}", **changes), {}, plugin)
        for number, changes in enumerate(pipelines)
    ]
    assert truncatable(loaded, "studio") == allowed


def test_pipelines_of_different_connectors_are_not_swept_together(tmp_path: Path) -> None:
    one = a_pipeline(tmp_path, "one")
    for other in (
        {"source": {"topic_prefix": "other"}},
        {"kafka": {"bootstrap_servers": "elsewhere:1"}},
    ):
        with pytest.raises(UsageError):
            scene_of([one, a_pipeline(tmp_path, "two", **other)])
    with pytest.raises(UsageError) as caught:
        scene_of([a_pipeline(tmp_path, "nameless", source={"topic_prefix": ""})])
    assert "source.topic_prefix" in caught.value.hint


# --- what is shown ------------------------------------------------------------------------------

SWEPT = Outcome("finance.titles", Verdict.SWEPT, MARK, [Found("search", 4, 2)], 2)
CLEAN = Outcome("finance.talent", Verdict.CLEAN, MARK)
REFUSED = Outcome("finance.budgets", Verdict.REFUSED, MARK, why="[no] way", hint="ask")


def test_what_a_machine_reads() -> None:
    data = view.as_data([SWEPT, CLEAN])
    assert data["changed"] is True
    assert data["tables"][0] == {
        "table": "finance.titles",
        "verdict": "swept",
        "watermark": {"cause": "snapshot", "file": "binlog.000003", "pos": 157},
        "deletes": 2,
        "stores": [{"pipeline": "search", "rows": 4, "orphans": 2}],
        "why": "",
        "hint": "",
    }
    assert view.as_data([CLEAN])["changed"] is False
    assert view.is_refused([CLEAN, REFUSED])
    assert not view.is_refused([CLEAN, SWEPT])


def test_what_a_person_reads() -> None:
    out = Console(width=200, record=True, file=None, quiet=False)
    with out.capture() as captured:
        view.render(out, [SWEPT, REFUSED, Outcome("finance.talent", Verdict.NO_WATERMARK)])
    text = captured.get()
    assert "snapshot binlog.000003:157" in text
    assert "search 2 of 4" in text
    assert "no watermark" in text
    assert "finance.budgets: [no] way" in text


def test_a_daemon_tells_what_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    news = News(as_json=True)
    for outcome in (CLEAN, SWEPT, REFUSED, REFUSED, CLEAN):
        news.tell(outcome)
    away = UnavailableError("Kafka is away", hint="start it")
    news.suffer(away)
    news.suffer(away)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("verdict") or line["trouble"] for line in lines] == [
        "swept",
        "refused",
        "Kafka is away",
    ]


def test_a_daemon_outlives_what_is_away_and_a_snapshot_that_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs: list[Any] = [
        [SWEPT],
        UnavailableError("Kafka is away"),
        PreconditionError("it takes a snapshot"),
        [REFUSED],
        SystemExit(0),
    ]
    slept: list[float] = []

    def once(*_: Any, is_again: bool) -> list[Outcome]:
        assert is_again
        found = runs.pop(0)
        if isinstance(found, BaseException):
            raise found
        return list(found)

    monkeypatch.setattr(sweep_runs, "once", once)
    monkeypatch.setattr(sweep_runs, "time", SimpleNamespace(sleep=slept.append))
    monkeypatch.setattr(sweep_runs, "signal", SimpleNamespace(
        SIGTERM=1, SIGINT=2, signal=lambda *_: None
    ))  # fmt: skip
    nobody: Any = None
    with pytest.raises(SystemExit):
        sweep_runs.repeatedly(nobody, nobody, (), 7.0, as_json=False)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 1)[1][:30] for line in said] == [
        "finance.titles: swept (snapsho",
        "waiting: Kafka is away",
        "waiting: it takes a snapshot",
        "finance.budgets: refused (snap",
    ]
    assert slept == [7.0] * 4
