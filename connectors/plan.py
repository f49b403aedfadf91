"""Desired against actual: what `apply` would do, as data. Pure functions only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from connectors.files import ConnectorFile
from connectors.masking import masked
from connectors.responses import Connector, State


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    ORPHAN = "orphan"
    """In Connect, but in no file: shown, and left alone. Deleting is a command of its own."""


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One setting's difference; None is absence. The values are masked already."""

    setting: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class ConnectorPlan:
    name: str
    action: Action
    state: State | None
    """As Connect has it now; None if it does not exist yet."""
    changes: tuple[SettingChange, ...] = ()


def plan_connectors(
    desired: Sequence[ConnectorFile], actual: Iterable[Connector]
) -> tuple[ConnectorPlan, ...]:
    """One plan per connector in either, by name."""
    there = {connector.name: connector for connector in actual}
    wanted = {file.name for file in desired}
    plans = [_plan(file, there.get(file.name)) for file in desired]
    plans += [
        ConnectorPlan(name, Action.ORPHAN, _state(connector))
        for name, connector in there.items()
        if name not in wanted
    ]
    return tuple(sorted(plans, key=lambda plan: plan.name))


def _plan(file: ConnectorFile, connector: Connector | None) -> ConnectorPlan:
    if connector is None:
        return ConnectorPlan(file.name, Action.CREATE, None, compare({}, file.config))
    changes = compare(connector.config, file.config)
    action = Action.UPDATE if changes else Action.UNCHANGED
    return ConnectorPlan(file.name, action, _state(connector), changes)


def compare(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[SettingChange, ...]:
    """Setting by setting. ``name`` is not compared: Connect adds it by itself."""
    return tuple(
        SettingChange(key, _shown(key, before.get(key)), _shown(key, after.get(key)))
        for key in sorted((before.keys() | after.keys()) - {"name"})
        if before.get(key) != after.get(key)
    )


def _shown(setting: str, value: str | None) -> str | None:
    return None if value is None else masked(setting, value)


def _state(connector: Connector) -> State | None:
    return connector.status.state if connector.status else None
