from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from callsheet.errors import (
    CallsheetError,
    ConfigError,
    FatalError,
    FencedError,
    PreconditionError,
    RetryableError,
)
from callsheet.kafka.faults import translated
from callsheet.kafka.settings import (
    OWNED,
    Connection,
    Membership,
    consumer_config,
    producer_config,
)

SECURE = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.username": "callsheet",
    "sasl.password": "secret",
    "ssl.ca.location": "/ca.pem",
    "fetch.min.bytes": "100",
}


def test_what_the_worker_owns_wins() -> None:
    user = dict.fromkeys(OWNED, "theirs")
    config = consumer_config(Connection("b:1", user), Membership("g", "i"))
    assert config["enable.auto.commit"] == "false"
    assert config["isolation.level"] == "read_committed"
    assert config["partition.assignment.strategy"] == "cooperative-sticky"
    assert config["auto.offset.reset"] == "error"
    assert (config["bootstrap.servers"], config["group.id"]) == ("b:1", "g")
    assert config["group.instance.id"] == "i"


def test_security_reaches_every_client_and_consumer_settings_only_consumers() -> None:
    connection = Connection("b:1", SECURE)
    clients = [
        consumer_config(connection, Membership("g")),
        producer_config(connection, max_message_bytes=1, budget_s=1),
        connection.common(),
    ]
    for name in SECURE:
        expected = [True, name != "fetch.min.bytes", name != "fetch.min.bytes"]
        assert [name in client for client in clients] == expected


def test_the_client_takes_what_we_make() -> None:
    from confluent_kafka import Consumer, Producer

    connection = Connection("127.0.0.1:1")
    Consumer({**consumer_config(connection, Membership("g")), "log_level": 0}).close()
    config = producer_config(connection, max_message_bytes=16 << 20, budget_s=30)
    assert Producer({**config, "log_level": 0}).purge() is None  # type: ignore[func-returns-value]


def test_budgets_become_the_clients_milliseconds() -> None:
    member = Membership("g", max_poll_interval_s=120.5, session_timeout_s=10, prefetch_bytes=4096)
    config = consumer_config(Connection("b:1"), member)
    assert config["max.poll.interval.ms"] == "120500"
    assert config["session.timeout.ms"] == "10000"
    assert config["queued.max.messages.kbytes"] == "4"
    produced = producer_config(Connection("b:1"), max_message_bytes=5, budget_s=2.5)
    assert (produced["delivery.timeout.ms"], produced["message.max.bytes"]) == ("2500", "5")
    assert (produced["acks"], produced["enable.idempotence"]) == ("all", "true")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.ILLEGAL_GENERATION, FencedError),
        (KafkaError.UNKNOWN_MEMBER_ID, FencedError),
        (KafkaError.FENCED_INSTANCE_ID, PreconditionError),
        (KafkaError.SASL_AUTHENTICATION_FAILED, ConfigError),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, ConfigError),
        (KafkaError.REBALANCE_IN_PROGRESS, RetryableError),
        (KafkaError.NOT_COORDINATOR, RetryableError),
        (KafkaError._TRANSPORT, RetryableError),
        (KafkaError._TIMED_OUT, RetryableError),
        (KafkaError.OFFSET_METADATA_TOO_LARGE, FatalError),
    ],
)
def test_each_error_says_how_one_recovers(code: int, kind: type[CallsheetError]) -> None:
    error = translated(KafkaError(code, "why"), "committing")
    assert type(error) is kind
    assert error.message.startswith("committing")


def test_what_ends_the_client_because_the_group_takes_it_for_another_is_told_apart() -> None:
    """In the client's words, as they were seen when a broker was restarted."""
    said = f"Fatal error: {KafkaError(KafkaError.FENCED_INSTANCE_ID).str()}: Fatal consumer error"
    for is_fatal in (False, True):
        error = translated(KafkaError(KafkaError._FATAL, said, fatal=is_fatal), "reading")
        assert type(error) is PreconditionError
        assert "with our instance id" in error.message


def test_a_broker_lost_while_we_say_who_we_are_has_not_refused_us() -> None:
    """In the client's words, as they were seen when the connection broke in that moment."""
    said = "SASL PLAIN mechanism handshake failed: Local: Broker transport failure"
    error = translated(KafkaError(KafkaError._AUTHENTICATION, said), "reading")
    assert type(error) is RetryableError
    refused = KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error: Invalid username")
    assert type(translated(refused, "reading")) is ConfigError


def test_a_fatal_error_of_the_client_is_fatal() -> None:
    error = translated(KafkaError(KafkaError._TRANSPORT, "why", fatal=True), "reading")
    assert type(error) is FatalError
