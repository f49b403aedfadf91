"""The brokers as the environment names them, for commands without a pipeline file."""

from __future__ import annotations

import pytest

from callsheet.errors import UsageError
from callsheet.kafka.environment import SECURITY, connection


def test_every_variable_gives_its_setting() -> None:
    environ = {name: f"value of {name}" for name in SECURITY}
    found = connection({"CALLSHEET_KAFKA_BOOTSTRAP": "kafka:9092", **environ}).common()
    assert found["bootstrap.servers"] == "kafka:9092"
    for name, setting in SECURITY.items():
        assert found[setting] == f"value of {name}"


def test_an_empty_variable_is_unset() -> None:
    found = connection({"CALLSHEET_KAFKA_BOOTSTRAP": "k:1", "CALLSHEET_KAFKA_SASL_USERNAME": ""})
    assert found.properties == {}


def test_without_an_address_it_says_what_to_set() -> None:
    with pytest.raises(UsageError, match="CALLSHEET_KAFKA_BOOTSTRAP is not set"):
        connection({})
