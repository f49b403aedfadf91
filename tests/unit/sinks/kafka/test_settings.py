"""What a pipeline file may say of its topics."""

from __future__ import annotations

from dataclasses import replace
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


def test_a_route_is_a_rule_for_tables_and_the_first_that_matches_counts() -> None:
    named = settings(
        routes={
            "finance.talent": "people.restricted",
            "finance.talent_?": "people.{table}",
            "finance.[bt]*": "{prefix}.{source}.money-{table}",
            "*.*": "rest.{database}.{table}",
        }
    )

    def topic_of(table: str, database: str = "finance") -> str:
        return named.topic_of(replace(a_schema(table=table), database=database))

    assert topic_of("talent") == "people.restricted"
    assert topic_of("talent_2") == "people.talent_2"
    assert topic_of("talent_22") == "downstream.studio.money-talent_22"
    assert topic_of("budgets") == "downstream.studio.money-budgets"
    assert topic_of("Budgets") == "rest.finance.Budgets"
    assert topic_of("talent", "Finance") == "rest.Finance.talent"
    assert named.fixed_topics() == ["people.restricted"]


def test_a_table_that_no_route_matches_follows_the_template() -> None:
    named = settings(routes={"hr.*": "people.{table}"})
    assert named.topic_of(a_schema()) == "downstream.finance.titles"


@pytest.mark.parametrize(
    "routes",
    [
        {"finance.titles": "x.{table}", "hr.titles": "x.{table}.{database}"},
        {"finance.titles": "x.{table}", "finance.talent": "x.{table}"},
        {"finance.*": "x.{table}", "hr.*": "x.{table}"},
        {"*.titles": "x.{table}", "finance.t*": "y.{table}"},
        {"finance.titles": "t", "finance.*": "x.{table}"},
    ],
)
def test_routes_that_may_stand_together(routes: dict[str, str]) -> None:
    assert settings(routes=routes).routes == routes


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"topic": "all"}, "contains {table}"),
        ({"topic": "{tenant}.{table}"}, "contains {table}"),
        ({"topic": "{table}/x"}, "letters, digits"),
        ({"routes": {"titles": "t"}}, "database.table"),
        ({"routes": {"finance.titles": "a b"}}, "no topic name"),
        ({"routes": {"finance.titles": "t", "finance.talent": "t"}}, "two tables go to one topic"),
        (
            {"routes": {"finance.t": "x.{table}", "hr.t": "x.{table}"}},
            "two tables go to one topic",
        ),
        ({"routes": {"finance.t": "{database}.t", "hr.t": "finance.t"}}, "two tables go to one"),
        ({"routes": {"finance.*": "money"}}, "'money' must contain {table}"),
        ({"routes": {"*": "{table}"}}, "database.table"),
        ({"routes": {"finance.*": "{tenant}.{table}"}}, "no topic name"),
        ({"routes": {"finance.*": "{table}/x"}}, "no topic name"),
        (
            {"routes": {"finance.*": "x.{table}", "finance.titles": "t"}},
            r"finance.titles comes too late: finance.\* matches it before",
        ),
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
