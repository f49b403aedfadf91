"""What Kafka Connect's REST API answers, as types; and what an answer means, as pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

JsonObject = Mapping[str, Any]
Redactor = Callable[[str], str]


class Verdict(Enum):
    """What to do about one answer."""

    OK = auto()
    MISSING = auto()
    """No such connector, plugin or status."""
    REBALANCING = auto()
    """409: the group has no settled leader. Nothing was done, so any call may be repeated."""
    BUSY = auto()
    """The worker gave up waiting for itself; the call may have been done all the same."""
    REFUSED = auto()
    """The request is wrong: repeating it changes nothing."""
    FORBIDDEN = auto()
    BROKEN = auto()


_VERDICTS = {
    401: Verdict.FORBIDDEN,
    403: Verdict.FORBIDDEN,
    404: Verdict.MISSING,
    409: Verdict.REBALANCING,
    429: Verdict.BUSY,
    502: Verdict.BUSY,
    503: Verdict.BUSY,
    504: Verdict.BUSY,
}


def classify(status: int, message: str) -> Verdict:
    """The verdict on one answer, from its HTTP status and Connect's ``message``."""
    if 200 <= status < 300:
        return Verdict.OK
    if status == 409 and "already exists" in message.lower():
        return Verdict.REFUSED
    if status in _VERDICTS:
        return _VERDICTS[status]
    # Connect answers 500 when its own herder thread does not answer it within 90 s.
    if status == 500 and "timed out" in message.lower():
        return Verdict.BUSY
    return Verdict.REFUSED if 400 <= status < 500 else Verdict.BROKEN


class State(Enum):
    """A connector's or a task's state. Connect may learn new ones: they read as UNKNOWN."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    UNASSIGNED = "UNASSIGNED"
    RESTARTING = "RESTARTING"
    UNKNOWN = "UNKNOWN"

    @classmethod
    def parse(cls, text: str) -> State:
        return cls(text) if text in cls.__members__ else cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class TaskStatus:
    id: int
    state: State
    worker: str
    trace: str = ""


@dataclass(frozen=True, slots=True)
class ConnectorStatus:
    """Connect's own claim. RUNNING is no proof of health: see ``connectors.supervisor``."""

    name: str
    state: State
    worker: str
    trace: str = ""
    tasks: tuple[TaskStatus, ...] = ()

    @property
    def failed(self) -> bool:
        return self.state is State.FAILED or any(t.state is State.FAILED for t in self.tasks)

    @property
    def running(self) -> bool:
        """The connector and each of its tasks; a connector without a task does no work."""
        return (
            self.state is State.RUNNING
            and bool(self.tasks)
            and all(t.state is State.RUNNING for t in self.tasks)
        )

    @property
    def traces(self) -> tuple[str, ...]:
        """The stack traces of whatever failed, the connector's own first."""
        return tuple(trace for trace in (self.trace, *(t.trace for t in self.tasks)) if trace)


def parse_status(body: JsonObject, redact: Redactor = str) -> ConnectorStatus:
    connector = body["connector"]
    return ConnectorStatus(
        name=body["name"],
        state=State.parse(connector["state"]),
        worker=connector.get("worker_id", ""),
        trace=redact(connector.get("trace") or ""),
        tasks=tuple(
            TaskStatus(
                id=task["id"],
                state=State.parse(task["state"]),
                worker=task.get("worker_id", ""),
                trace=redact(task.get("trace") or ""),
            )
            for task in sorted(body.get("tasks", ()), key=lambda task: int(task["id"]))
        ),
    )


@dataclass(frozen=True, slots=True)
class Connector:
    """A connector as Connect lists it: its configuration, references unresolved, and its status."""

    name: str
    config: Mapping[str, str]
    status: ConnectorStatus | None
    """None for the moments between a connector's creation and its first status."""


def parse_connectors(body: JsonObject, redact: Redactor = str) -> tuple[Connector, ...]:
    """The answer to ``GET /connectors?expand=info&expand=status``, by name."""
    return tuple(
        Connector(
            name=name,
            config=_texts(entry["info"]["config"]),
            status=parse_status(entry["status"], redact) if entry.get("status") else None,
        )
        for name, entry in sorted(body.items())
    )


def _texts(config: JsonObject) -> dict[str, str]:
    return {key: "" if value is None else str(value) for key, value in config.items()}


@dataclass(frozen=True, slots=True)
class Worker:
    version: str
    commit: str
    cluster: str


@dataclass(frozen=True, slots=True)
class Plugin:
    class_name: str
    type: str
    version: str


@dataclass(frozen=True, slots=True)
class Validation:
    """Connect's opinion of a configuration, field by field."""

    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    """Every setting that the plugin or the framework declares."""


def parse_validation(body: JsonObject, redact: Redactor = str) -> Validation:
    faults: dict[str, tuple[str, ...]] = {}
    known = set()
    for entry in body["configs"]:
        definition, value = entry.get("definition"), entry.get("value")  # either may be null
        if definition:
            known.add(definition["name"])
        if value and value["errors"]:
            faults[value["name"]] = tuple(redact(error) for error in value["errors"])
    return Validation(faults=faults, known=frozenset(known))


@dataclass(frozen=True, slots=True)
class SourceOffset:
    """How far a source connector has come in one of its partitions, as it says itself."""

    partition: JsonObject
    offset: JsonObject | None


def parse_offsets(body: JsonObject) -> tuple[SourceOffset, ...]:
    return tuple(SourceOffset(o["partition"], o["offset"]) for o in body["offsets"])
