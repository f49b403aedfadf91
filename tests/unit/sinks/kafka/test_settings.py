"""What a pipeline file may say of its topics."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sinks.kafka.settings import KafkaSinkSettings
from tests.support.batches import a_schema


def settings(**given: Any) -> KafkaSinkSettings:
    return KafkaSinkSettings.model_validate({"registry": {"url": "http://registry"}, **given})


def test_topics_follow_the_template_or_a_route() -> None:
    assert settings().topic_of(a_schema()) == "downstream.finance.titles"
    named = settings(topic="{source}-{table}.v1", routes={"finance.budgets": "money"})
    assert named.topic_of(a_schema()) == "studio-titles.v1"
    assert named.topic_of(a_schema(table="budgets")) == "money"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"topic": "all"}, "contains {table}"),
        ({"topic": "{tenant}.{table}"}, "contains {table}"),
        ({"topic": "{table}/x"}, "letters, digits"),
        ({"routes": {"titles": "t"}}, "database.table"),
        ({"routes": {"finance.titles": "a b"}}, "no topic name"),
        ({"routes": {"finance.titles": "t", "finance.talent": "t"}}, "two tables go to one topic"),
        ({"topic_config": {"cleanup.policy": "compact"}}, "follow from the settings"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(**given)


def test_each_mode_states_how_its_topics_are_kept() -> None:
    assert settings(topic_config={"segment.ms": "1"}).wanted_config() == {
        "segment.ms": "1",
        "max.message.bytes": str(4 << 20),
        "cleanup.policy": "delete",
        "retention.ms": "604800000",
    }
    assert settings(retention_hours=None).wanted_config()["retention.ms"] == "-1"
    latest = settings(mode="latest", tombstones_kept_hours=1).wanted_config()
    assert (latest["cleanup.policy"], latest["delete.retention.ms"]) == ("compact", "3600000")
