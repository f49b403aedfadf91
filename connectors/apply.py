"""Make Kafka Connect run what the files say. Applied again, it changes nothing.

In this order, and nothing is changed before all connectors have passed 1 and 2:

1. MySQL is fit to be captured (`connectors.preflight`);
2. Connect itself accepts each setting;
3. the topics exist;
4. the configuration is put;
5. the connector is RUNNING and has moved: state alone is no proof.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from callsheet.doctor import Finding
from callsheet.errors import ConfigError, FatalError, Fault, UnavailableError
from callsheet.kafka.topics import Topic, TopicState
from callsheet.ports import Clock, Deadline
from connectors.client import ConnectClient
from connectors.files import ConnectorFile
from connectors.models import MysqlCapture
from connectors.plan import Action, ConnectorPlan, plan_connectors
from connectors.preflight import refuse
from connectors.progress import BinlogPosition, Progress, has_moved, measure
from connectors.responses import ConnectorStatus, State, Validation
from connectors.topics import TopicAdmin, TopicPlan, apply_topics, load_topics, plan_topics
from connectors.traces import root_cause

_POLL_S = 0.5
_FAILED_FOR_S = 5.0
"""How long FAILED must last: just after a change the status still tells of the time before."""

# Settings that belong to something inside the connector, which no validation declares.
_OPEN_PREFIXES = (
    "schema.history.internal.", "key.converter.", "value.converter.", "header.converter.",
    "producer.override.", "consumer.override.", "admin.override.", "transforms.", "predicates.",
    "driver.", "signal.", "notification.", "topic.", "column.", "internal.", "converters.",
)  # fmt: skip


class Survey(Protocol):
    """Looks at a connector's MySQL; `connectors.survey.MysqlSurvey` is the real one."""

    def findings(
        self,
        file: ConnectorFile,
        *,
        committed: BinlogPosition | None = None,
        history: TopicState | None = None,
    ) -> Sequence[Finding]: ...


@dataclass(frozen=True, slots=True)
class Plan:
    connectors: tuple[ConnectorPlan, ...]
    topics: Mapping[str, TopicPlan]
    """By connector."""

    @property
    def empty(self) -> bool:
        settled = {Action.UNCHANGED, Action.ORPHAN}
        return all(c.action in settled for c in self.connectors) and all(
            topics.empty for topics in self.topics.values()
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    name: str
    action: Action
    state: State
    seconds: float
    """Until the first progress; 0 where nothing was waited for."""


class Applier:
    """Plans and applies; everything of the world outside is handed in."""

    def __init__(  # noqa: PLR0913  (the outside world, injected)
        self,
        connect: ConnectClient,
        topics: TopicAdmin,
        survey: Survey,
        clock: Clock,
        *,
        wait_s: float = 90.0,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._connect, self._topics, self._survey, self._clock = connect, topics, survey, clock
        self._wait_s = wait_s
        self._report = report

    def plan(self, files: Sequence[ConnectorFile]) -> Plan:
        """What `apply` would change; changes nothing."""
        return Plan(
            connectors=plan_connectors(files, self._connect.connectors()),
            topics={file.name: self._plan_topics(load_topics(file)) for file in files},
        )

    def check(self, files: Sequence[ConnectorFile]) -> tuple[Finding, ...]:
        """The findings on MySQL, if nothing speaks against applying.

        Raises:
            PreconditionError: MySQL is not fit; names each setting.
            ConfigError: Connect rejects settings; names each, with its line.
        """
        findings: list[Finding] = []
        for file in files:
            history = file.config["schema.history.internal.kafka.topic"]
            committed = measure(self._connect.offsets(file.name), {}).position
            there = self._topics.describe([history]).get(history)
            findings += self._survey.findings(file, committed=committed, history=there)
        refuse(findings)
        faults = [
            fault
            for file in files
            for fault in validation_faults(file, self._connect.validate(file.name, file.config))
        ]
        if faults:
            raise ConfigError(f"Kafka Connect rejects {len(faults)} setting(s).", faults=faults)
        return tuple(findings)

    def apply(self, files: Sequence[ConnectorFile]) -> tuple[Outcome, ...]:
        """Carry the plan out.

        Raises:
            PreconditionError, ConfigError: as `check`; nothing was changed.
            FatalError: a connector failed; says the root cause.
            UnavailableError: a connector did not get going in time.
        """
        plan = self.plan(files)
        self.check(files)
        plans = {entry.name: entry for entry in plan.connectors}
        return tuple(self._apply(file, plans[file.name], plan.topics[file.name]) for file in files)

    def _apply(self, file: ConnectorFile, plan: ConnectorPlan, topics: TopicPlan) -> Outcome:
        if not topics.empty:
            self._report(
                f"{file.name}: {len(topics.create)} topic(s) created, {len(topics.alter)} altered"
            )
            apply_topics(topics, self._topics)
        if plan.action is Action.UNCHANGED:
            return self._unchanged(file, plan)
        names = [topic.name for topic in load_topics(file)]
        before = self._progress(file.name, names)
        self._connect.put_config(file.name, file.config)
        self._report(f"{file.name}: {plan.action}d, waiting for its first progress")
        if plan.state in {State.PAUSED, State.STOPPED}:
            return Outcome(file.name, plan.action, plan.state, 0.0)
        if plan.action is Action.CREATE:
            # An earlier connector of this name left its offsets: those are no progress.
            before = self._progress(file.name, names)
        return self._wait(file.name, plan.action, names, before)

    def _unchanged(self, file: ConnectorFile, plan: ConnectorPlan) -> Outcome:
        status = self._connect.status(file.name)
        if status is not None and status.failed:
            raise failure(status)
        return Outcome(file.name, plan.action, status.state if status else State.UNKNOWN, 0.0)

    def _wait(self, name: str, action: Action, topics: Sequence[str], before: Progress) -> Outcome:
        started_s = self._clock.monotonic()
        deadline = Deadline.after(self._clock, self._wait_s)
        working_s = started_s  # when it was last seen to be anything but FAILED
        while True:
            status = self._connect.status(name)
            now_s = self._clock.monotonic()
            if status is None or not status.failed:
                working_s = now_s
            elif now_s - working_s >= _FAILED_FOR_S:
                raise failure(status)
            if status and status.running and has_moved(before, self._progress(name, topics)):
                return Outcome(name, action, status.state, now_s - started_s)
            if deadline.expired():
                raise _late(name, status, self._wait_s)
            self._clock.sleep(_POLL_S)

    def _progress(self, name: str, topics: Sequence[str]) -> Progress:
        return measure(self._connect.offsets(name), self._topics.end_offsets(topics))

    def _plan_topics(self, topics: Sequence[Topic]) -> TopicPlan:
        return plan_topics(topics, self._topics.describe([topic.name for topic in topics]))


def validation_faults(file: ConnectorFile, validation: Validation) -> Iterator[Fault]:
    """Connect's complaints by setting and line, and settings that nobody knows.

    Connect ignores an unknown setting, so a misspelt one silently keeps its default.
    """
    for setting, messages in sorted(validation.faults.items()):
        for message in messages:
            yield file.fault(setting, message)
    ours = {field.alias for field in MysqlCapture.model_fields.values() if field.alias}
    known = validation.known | ours | {"field.name.adjustment.mode"}
    for setting in file.config:
        if setting not in known and not setting.startswith(_OPEN_PREFIXES):
            similar = difflib.get_close_matches(setting, known, n=1)
            meant = f"; did you mean {similar[0]}?" if similar else ""
            yield file.fault(setting, f"is no setting of this connector{meant}")


def failure(status: ConnectorStatus) -> FatalError:
    """The error for a FAILED connector: the root cause, and what to do about it."""
    cause = root_cause(status.traces[0] if status.traces else "")
    hint = cause.hint or f"`callsheet connectors restart {status.name}` tries again."
    return FatalError(f"Connector {status.name} failed: {cause.text}", hint=hint)


def _late(name: str, status: ConnectorStatus | None, wait_s: float) -> UnavailableError:
    state = status.state.value if status else "not known to Connect"
    return UnavailableError(
        f"Connector {name} made no progress in {wait_s:.0f} s; it is {state}.",
        hint=f"`callsheet connectors status {name}`; the worker's log says more.",
    )
