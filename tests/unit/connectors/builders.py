"""What the tests of connectors build upon: a clock, statuses, a connector file, fakes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from callsheet.kafka.topics import Topic, TopicState
from connectors.files import ConnectorFile, load
from connectors.progress import BinlogPosition, Progress
from connectors.responses import ConnectorStatus, State, TaskStatus

FOLDER = Path(__file__).parents[3] / "cdc-config" / "connectors"
FINANCE = FOLDER / "finance-mysql.json"


class FakeClock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def write_connector(
    folder: Path, changes: Mapping[str, object] | None = None, name: str = "finance-mysql"
) -> Path:
    """The repository's connector under another name, with settings changed; None removes one.

    Its topics file comes along.
    """
    data = json.loads(FINANCE.read_text())
    data["name"] = name
    for key, value in (changes or {}).items():
        if value is None:
            data["config"].pop(key)
        else:
            data["config"][key] = value
    path = folder / f"{name}.json"
    path.write_text(json.dumps(data, indent=2))
    topics = FINANCE.with_suffix(".topics.yaml").read_text()
    path.with_suffix(".topics.yaml").write_text(topics)
    return path


def a_connector(folder: Path, changes: Mapping[str, object] | None = None) -> ConnectorFile:
    return load(write_connector(folder, changes))


def a_status(
    state: State = State.RUNNING, task: State | None = None, trace: str = ""
) -> ConnectorStatus:
    return ConnectorStatus(
        "finance-mysql",
        state,
        "worker:8083",
        "",
        (TaskStatus(0, task or state, "worker:8083", trace),),
    )


def a_progress(
    position: int, *, ordinal: int = 7, written: int = 0, snapshot: bool = False
) -> Progress:
    at = BinlogPosition(ordinal, position, f"binlog.{ordinal:06}")
    return Progress(offsets=str(at), position=at, snapshotting=snapshot, written=written)


def at(position: int, ordinal: int = 7) -> BinlogPosition:
    return BinlogPosition(ordinal, position, f"binlog.{ordinal:06}")


class FakeTopics:
    """A cluster's topics in memory; keeps what a broker keeps."""

    def __init__(self) -> None:
        self.states: dict[str, TopicState] = {}
        self.ends: dict[str, int] = {}
        self.altered: list[tuple[str, Mapping[str, str]]] = []

    def describe(self, names: Iterable[str]) -> Mapping[str, TopicState]:
        return {name: self.states[name] for name in names if name in self.states}

    def create(self, topics: Sequence[Topic]) -> None:
        for topic in topics:
            assert topic.name not in self.states, "created twice"
            config = {"retention.ms": "604800000", "cleanup.policy": "delete", **topic.config}
            self.states[topic.name] = TopicState(topic.name, topic.partitions, 1, config)

    def alter(self, name: str, config: Mapping[str, str]) -> None:
        before = self.states[name]
        self.altered.append((name, config))
        self.states[name] = TopicState(
            name, before.partitions, before.replication_factor, {**before.config, **config}
        )

    def end_offsets(self, names: Iterable[str]) -> Mapping[str, int]:
        return {name: self.ends.get(name, 0) for name in names if name in self.states}
