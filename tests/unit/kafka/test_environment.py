"""The brokers as the environment names them, for commands without a pipeline file."""

from __future__ import annotations

import pytest

from callsheet.errors import ConfigError, UsageError
from callsheet.kafka.environment import SECURITY, connection


def test_every_variable_gives_its_setting() -> None:
    environ = {name: f"value of {name}" for name in SECURITY}
    environ |= {
        "CALLSHEET_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "CALLSHEET_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    }
    found = connection({"CALLSHEET_KAFKA_BOOTSTRAP": "kafka:9092", **environ}).common()
    assert found["bootstrap.servers"] == "kafka:9092"
    for name, setting in SECURITY.items():
        assert found[setting] == environ[name]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"CALLSHEET_KAFKA_SECURITY_PROTOCOL": "FOO"}, "CALLSHEET_KAFKA_SECURITY_PROTOCOL: "),
        (
            {
                "CALLSHEET_KAFKA_SECURITY_PROTOCOL": "SSL",
                "CALLSHEET_KAFKA_SSL_CA_FILE": "/nonexistent/ca.pem",
            },
            "CALLSHEET_KAFKA_SSL_CA_FILE: .*there is no file /nonexistent/ca.pem",
        ),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        connection({"CALLSHEET_KAFKA_BOOTSTRAP": "kafka:9092", **environ})
    assert caught.value.hint


def test_an_empty_variable_is_unset() -> None:
    found = connection({"CALLSHEET_KAFKA_BOOTSTRAP": "k:1", "CALLSHEET_KAFKA_SASL_USERNAME": ""})
    assert found.properties == {}


def test_without_an_address_it_says_what_to_set() -> None:
    with pytest.raises(UsageError, match="CALLSHEET_KAFKA_BOOTSTRAP is not set"):
        connection({})
