"""The way from a command to Kafka Connect, and to what else capture needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from callsheet.errors import UsageError

if TYPE_CHECKING:
    from connectors.apply import Applier
    from connectors.client import ConnectClient


@contextmanager
def client(deadline_s: float = 90.0) -> Iterator[ConnectClient]:
    from connectors.client import ConnectClient
    from connectors.masking import environment_secrets, redacted

    secrets = environment_secrets(os.environ)
    url = _connect_url()
    client = ConnectClient(url, deadline_s=deadline_s, redact=lambda text: redacted(text, secrets))
    with client as connect:
        yield connect


@contextmanager
def connected_applier(
    report: Callable[[str], None] = lambda _: None,
    downtime_budget_hours: float = 24.0,
    deadline_s: float = 90.0,
) -> Iterator[Applier]:
    from callsheet.ports import SystemClock
    from connectors.apply import Applier
    from connectors.subjects import RegistrySubjects
    from connectors.survey import MysqlSurvey

    survey = MysqlSurvey(os.environ, downtime_budget_hours=downtime_budget_hours)
    subjects, clock = RegistrySubjects(os.environ), SystemClock()
    with client(deadline_s) as connect:
        yield Applier(connect, topics(), survey, clock, subjects=subjects, report=report)


def topics() -> Any:
    from callsheet.kafka.admin import KafkaTopics
    from callsheet.kafka.environment import connection

    return KafkaTopics(connection(os.environ).common())


def _connect_url() -> str:
    url = os.environ.get("CALLSHEET_CONNECT_URL", "")
    if url.startswith(("http://", "https://")):
        return url
    raise UsageError(
        "CALLSHEET_CONNECT_URL is no address." if url else "CALLSHEET_CONNECT_URL is not set.",
        hint="It is http(s)://host:port; `callsheet stack up` sets it for its own servers.",
    )
