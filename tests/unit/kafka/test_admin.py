"""What each of a cluster's answers to an admin's call means."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from callsheet.errors import CallsheetError, FatalError, PreconditionError, UnavailableError
from callsheet.kafka import admin
from callsheet.kafka.admin import KafkaTopics
from callsheet.kafka.faults import PASSING


class FailingClient:
    """Answers each call with one error."""

    error = KafkaError(KafkaError._TRANSPORT)

    def __init__(self, settings: Any) -> None: ...

    def incremental_alter_configs(self, resources: Any, **_: Any) -> dict[Any, Future[None]]:
        future = Future[None]()
        future.set_exception(KafkaException(self.error))
        return dict.fromkeys(resources, future)

    def poll(self, timeout: float) -> int:
        return 0


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> KafkaTopics:
    monkeypatch.setattr(admin, "AdminClient", FailingClient)
    return KafkaTopics({"bootstrap.servers": "k:9092"})


def raised_by(topics: KafkaTopics, code: int, monkeypatch: pytest.MonkeyPatch) -> CallsheetError:
    monkeypatch.setattr(FailingClient, "error", KafkaError(code))
    with pytest.raises(CallsheetError) as raised:
        topics.alter("t", {"retention.ms": "1"})
    return raised.value


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (KafkaError._TRANSPORT, UnavailableError, "does not answer"),
        (KafkaError._TIMED_OUT, UnavailableError, "does not answer"),
        (KafkaError._ALL_BROKERS_DOWN, UnavailableError, "does not answer"),
        (KafkaError._RESOLVE, UnavailableError, "does not answer"),
        (KafkaError.REQUEST_TIMED_OUT, UnavailableError, "does not answer"),
        (KafkaError.NETWORK_EXCEPTION, UnavailableError, "does not answer"),
        (KafkaError.NOT_CONTROLLER, UnavailableError, "is not ready"),
        (KafkaError.THROTTLING_QUOTA_EXCEEDED, UnavailableError, "is not ready"),
        (KafkaError._WAIT_COORD, UnavailableError, "is not ready"),
        (KafkaError._WAIT_CACHE, UnavailableError, "is not ready"),
        (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, UnavailableError, "is not ready"),
        (KafkaError.LEADER_NOT_AVAILABLE, UnavailableError, "no leader yet"),
        (KafkaError.NOT_LEADER_FOR_PARTITION, UnavailableError, "no leader yet"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, PreconditionError, "no such topic"),
        (KafkaError.TOPIC_ALREADY_EXISTS, PreconditionError, "it exists"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, PreconditionError, "refused"),
        (KafkaError.INVALID_CONFIG, PreconditionError, "refused"),
        (KafkaError.INVALID_REQUEST, FatalError, "failed: INVALID_REQUEST"),
        (KafkaError.UNKNOWN, FatalError, "failed: UNKNOWN"),
    ],
    ids=lambda value: KafkaError(value).name() if isinstance(value, int) else None,
)
def test_what_an_answer_means_and_what_to_do_next(
    topics: KafkaTopics,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    kind: type[CallsheetError],
    said: str,
) -> None:
    error = raised_by(topics, code, monkeypatch)
    assert isinstance(error, kind)
    assert said in error.message
    assert error.hint


@pytest.mark.parametrize(
    "code", sorted(PASSING - {KafkaError.UNKNOWN_TOPIC_OR_PART}), ids=lambda c: KafkaError(c).name()
)
def test_what_passes_elsewhere_passes_here(
    topics: KafkaTopics, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    assert isinstance(raised_by(topics, code, monkeypatch), UnavailableError)
