"""Settings that the Kafka client does not take: told by name, never by value."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from callsheet.errors import ConfigError
from callsheet.kafka.clients import refusals, refusals_told
from callsheet.kafka.groups import KafkaGroups
from callsheet.kafka.peek import Peek
from callsheet.kafka.settings import Connection


def test_what_is_right_is_taken() -> None:
    settings = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}
    assert not list(refusals({**settings, "sasl.username": "u", "sasl.password": "p"}))
    # A producer's property is no fault: all clients of a pipeline share the file.
    assert not list(refusals({"linger.ms": "5", "bootstrap.servers": "localhost:1"}))


def test_every_single_property_is_told() -> None:
    found = list(refusals({"security.protocol": "FOO", "a.b": "1", "socket.timeout.ms": "1"}))
    assert {each.name for each in found} == {"security.protocol", "a.b", "socket.timeout.ms"}
    assert all(each.message for each in found)


def test_a_value_is_not_quoted() -> None:
    (found,) = refusals({"security.protocol": 'a "secret" for me'})
    assert found.message == 'Invalid value for configuration property "security.protocol"'


@pytest.mark.parametrize("name", ["ssl.ca.location", "ssl.certificate.location"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    (found,) = refusals({"security.protocol": "SSL", name: "/nonexistent/x.pem"})
    assert found == type(found)(name, "there is no file /nonexistent/x.pem")
    assert str(found) == f"{name}: there is no file /nonexistent/x.pem"


def test_what_only_does_not_go_together_is_of_no_property() -> None:
    (found,) = refusals({"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"})
    assert found.name == ""
    assert "sasl.username and sasl.password must be set" in found.message


def test_nobody_is_asked_for_a_token() -> None:
    settings = {
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc", "sasl.oauthbearer.client.id": "a",
        "sasl.oauthbearer.client.secret": "s",
        "sasl.oauthbearer.token.endpoint.url": "http://127.0.0.1:9/token",
    }  # fmt: skip
    assert not list(refusals(settings))


def test_what_makes_a_client_says_what_it_does_not_take() -> None:
    wrong = Connection("localhost:1", {"security.protocol": "FOO"})
    for make in (KafkaGroups, lambda connection: Peek(connection, {})):
        with pytest.raises(ConfigError, match=r"security\.protocol") as caught:
            make(wrong)
        assert "kafka.properties" in caught.value.hint


def test_other_errors_of_the_client_pass() -> None:
    error = KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    with pytest.raises(KafkaException), refusals_told():
        raise error
    with pytest.raises(ConfigError), refusals_told():
        Consumer({"group.id": "x", "a.b": "c"})
