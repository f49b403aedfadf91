"""Make Kafka Connect run what the files say. Applied again, it changes nothing.

In this order, and nothing is changed before all connectors have passed 1 and 2:

1. MySQL is fit to be captured (`connectors.preflight`);
2. Connect itself accepts each setting;
3. the topics exist, and the registry takes any schema for them (`connectors.subjects`);
4. the configuration is put, of a new connector before it runs (Connect keeps the offsets of a
   deleted connector, and one of the same name would go on from them, fit or not);
5. the connector is RUNNING and has moved: state alone is no proof.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from callsheet.doctor import Finding
from callsheet.errors import ConfigError
from callsheet.kafka.topics import Topic, TopicState
from callsheet.ports import Clock, Deadline
from connectors.client import ConnectClient
from connectors.files import ConnectorFile
from connectors.launch import failure, wait_for_progress
from connectors.plan import Action, ConnectorPlan, plan_connectors
from connectors.preflight import refuse
from connectors.progress import BinlogPosition, Progress, measure
from connectors.responses import State
from connectors.subjects import Subjects
from connectors.topics import TopicAdmin, TopicPlan, apply_topics, load_topics, plan_topics
from connectors.validation import validation_faults

_AT_REST = {State.PAUSED, State.STOPPED}


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
        subjects: Subjects,
        wait_s: float = 90.0,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._connect, self._topics, self._survey, self._clock = connect, topics, survey, clock
        self._subjects, self._wait_s = subjects, wait_s
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
        findings = [finding for file in files for finding in self._findings(file)]
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
        """Carry the plan out. Interrupted anywhere, it goes on when called again.

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
        fresh = self._is_fresh(plan)
        if plan.action is Action.CREATE:
            self._connect.create_stopped(file.name, file.config)
            # An earlier connector of this name has left its offsets, which only now can be seen.
            refuse(self._findings(file))
        if not topics.empty:
            apply_topics(topics, self._topics)
            done = f"{len(topics.create)} topic(s) created, {len(topics.alter)} setting(s) altered"
            self._report(f"{file.name}: {done}")
        self._subjects.accept_any(file, [topic.name for topic in load_topics(file)])
        if plan.action is Action.UPDATE:
            self._connect.put_config(file.name, file.config)
        if not fresh and (plan.action is Action.UNCHANGED or plan.state in _AT_REST):
            return self._as_it_is(plan)
        return self._run(file, plan.action, fresh=fresh)

    def _is_fresh(self, plan: ConnectorPlan) -> bool:
        """New, or created by an `apply` that was interrupted before it ran."""
        return plan.action is Action.CREATE or (
            plan.state is State.STOPPED and not self._connect.topics(plan.name)
        )

    def _run(self, file: ConnectorFile, action: Action, *, fresh: bool) -> Outcome:
        names = [topic.name for topic in load_topics(file)]

        def progress() -> Progress:
            return measure(self._connect.offsets(file.name), self._topics.end_offsets(names))

        before = progress()
        if fresh:
            self._connect.resume(file.name)
        self._report(f"{file.name}: waiting for its first progress")
        deadline = Deadline.after(self._clock, self._wait_s)
        seconds = wait_for_progress(self._connect, file.name, before, progress, deadline)
        return Outcome(file.name, action, State.RUNNING, seconds)

    def _as_it_is(self, plan: ConnectorPlan) -> Outcome:
        """Not waited for: nothing changed, or somebody paused it on purpose."""
        status = self._connect.status(plan.name)
        if status is not None and status.failed:
            raise failure(status)
        state = status.state if status else State.UNKNOWN
        return Outcome(plan.name, plan.action, state, 0.0)

    def _findings(self, file: ConnectorFile) -> Sequence[Finding]:
        history = file.config["schema.history.internal.kafka.topic"]
        committed = measure(self._connect.offsets(file.name), {}).position
        there = self._topics.describe([history]).get(history)
        return self._survey.findings(file, committed=committed, history=there)

    def _plan_topics(self, topics: Sequence[Topic]) -> TopicPlan:
        return plan_topics(topics, self._topics.describe([topic.name for topic in topics]))
