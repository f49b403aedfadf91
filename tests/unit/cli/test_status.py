"""`callsheet status` of a pipeline whose workers this machine's state folder does not know."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable
from pathlib import Path

import pytest
from rich.console import Console

from callsheet.batch import Partition
from callsheet.cli import status
from callsheet.cli.status import Lag, PipelineView, lag_of
from callsheet.config.loading import load_core, read
from callsheet.config.models import PipelineSettings
from callsheet.errors import UnavailableError
from callsheet.kafka.groups import GroupState, PartitionOffsets
from callsheet.kafka.settings import Connection

PIPELINE = """\
name: a
source: {format: json, topics: [studio.finance.titles]}
kafka: {bootstrap_servers: 'localhost:1'}
http: {port: 0}
sink: {type: discard}
"""
TITLES = Partition("studio.finance.titles", 0)


class Brokers:
    """A group of these members, seven records behind."""

    def __init__(self, *members: str, is_away: bool = False) -> None:
        self.members, self.is_away = members, is_away

    def state(self, group_id: str) -> GroupState:
        if self.is_away:
            raise UnavailableError("Kafka does not answer")
        return GroupState(group_id, "stable" if self.members else "dead", self.members)

    def partitions(self, topics: Iterable[str]) -> list[Partition]:
        assert list(topics) == ["studio.finance.titles"]
        return [TITLES]

    def offsets(self, group_id: str, partitions: Collection[Partition]) -> list[PartitionOffsets]:
        assert group_id
        return [PartitionOffsets(each, 3, 0, 10) for each in partitions]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(PIPELINE)
    return path


def settings_of(file: Path) -> PipelineSettings:
    return load_core(read(file), file, {})


def view(file: Path, brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> PipelineView:
    def groups(_: Connection, *, timeout_s: float) -> Brokers:
        assert timeout_s < 10
        return brokers

    monkeypatch.setattr("callsheet.kafka.groups.KafkaGroups", groups)
    return status._view(file, [])


def test_a_group_without_members_is_not_running(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = view(file, Brokers(), monkeypatch)
    assert (found.state, found.detail, found.lag) == ("not running", f"callsheet run {file}", 7)


def test_members_that_nobody_here_started_run_elsewhere(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = view(file, Brokers("callsheet@/10.0.0.2", "callsheet@/10.0.0.1"), monkeypatch)
    assert (found.state, found.lag) == ("runs elsewhere", 7)
    assert found.detail.startswith("2 members of its group: callsheet@/10.0.0.1, callsheet@/10.0")
    assert view(file, Brokers("x"), monkeypatch).detail.startswith("1 member of its group: x;")


def test_brokers_that_are_away_know_of_nobody(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = view(file, Brokers("x", is_away=True), monkeypatch)
    assert (found.state, found.lag_error) == ("not running", "Kafka does not answer")


def test_the_lag_comes_with_the_members(file: Path) -> None:
    assert lag_of(Brokers("x"), settings_of(file)) == Lag(7, members=("x",))


def test_every_state_can_be_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=io.StringIO(), width=200)
    views = [view(file, Brokers(*names), monkeypatch) for names in ((), ("x",))]
    status._render(out, [], "no connectors", views)
    assert isinstance(out.file, io.StringIO)
    assert "runs elsewhere" in out.file.getvalue()
