"""A topic as wanted and as found: plain values. The client is in ``callsheet.kafka.admin``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BROKER_DEFAULT = -1
"""As a replication factor: whatever the brokers' ``default.replication.factor`` says."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as wanted. ``config`` holds only what is stated; the rest is the broker's choice."""

    name: str
    partitions: int
    replication_factor: int = BROKER_DEFAULT
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is, with its effective configuration, defaults included."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]
