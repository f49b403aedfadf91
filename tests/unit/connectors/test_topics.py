from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.errors import ConfigError
from callsheet.kafka.topics import Topic, TopicState
from connectors.topics import apply_topics, is_match, load_topics, plan_topics, split_list
from tests.unit.connectors.builders import FINANCE, FakeTopics, a_connector

TOPICS = FINANCE.with_suffix(".topics.yaml")


def edited(tmp_path: Path, *edits: tuple[str, str]) -> Path:
    path = tmp_path / "finance-mysql.topics.yaml"
    text = path.read_text()
    for before, after in edits:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    return path


def test_every_topic_of_the_connector_in_debeziums_names(tmp_path: Path) -> None:
    topics = {topic.name: topic for topic in load_topics(a_connector(tmp_path))}
    assert {
        "studio.finance.titles",
        "studio.finance.callsheet_signal",
        "studio.transaction",
        "studio",
        "__debezium-heartbeat.studio",
        "_schema-history.studio",
    } < topics.keys()
    titles, history = topics["studio.finance.titles"], topics["_schema-history.studio"]
    assert titles.partitions == 4
    assert titles.config["retention.ms"] == str(168 * 3_600_000)
    assert titles.config["cleanup.policy"] == "delete"
    assert history.partitions == 1
    assert history.config["retention.ms"] == history.config["retention.bytes"] == "-1"


def test_the_producer_cannot_send_what_the_topics_refuse(tmp_path: Path) -> None:
    file = a_connector(tmp_path)
    largest = int(file.config["producer.override.max.request.size"])
    assert all(int(topic.config["max.message.bytes"]) > largest for topic in load_topics(file))


@pytest.mark.parametrize(
    ("edit", "path", "said"),
    [
        (("  finance.titles: {}\n", ""), "tables", "lacks finance.titles"),
        (("  finance.callsheet_signal: {partitions: 1, retention_hours: 24}\n", ""), "tables",
         "lacks finance.callsheet_signal"),
        (("  finance.titles: {}", "  finance.titles: {}\n  finance.films: {}"),
         "tables.finance.films", "not captured"),
        (("schema_history: {partitions: 1,", "schema_history: {partitions: 2,"),
         "schema_history.partitions", "must be 1"),
        (("schema_history: {partitions: 1, retention_hours: unlimited}",
          "schema_history: {partitions: 1}"), "schema_history.retention_hours", "unlimited"),
        (("  finance.titles: {}", "  finance.titles: {partition: 3}"),
         "tables.finance.titles.partition", "unknown key; did you mean partitions"),
        (("partitions: 4", "partitions: 0"), "defaults.partitions", "at least 1"),
    ],
)  # fmt: skip
def test_faults_of_the_topics_file(
    tmp_path: Path, edit: tuple[str, str], path: str, said: str
) -> None:
    file = a_connector(tmp_path)
    edited(tmp_path, edit)
    with pytest.raises(ConfigError) as caught:
        load_topics(file)
    found = {fault.path: fault for fault in caught.value.faults}
    assert said in found[path].message
    assert found[path].line > 1


def test_without_a_topics_file_nothing_is_guessed(tmp_path: Path) -> None:
    file = a_connector(tmp_path)
    (tmp_path / "finance-mysql.topics.yaml").unlink()
    with pytest.raises(ConfigError, match=r"topics\.yaml cannot be read"):
        load_topics(file)


def state(partitions: int = 4, factor: int = 1) -> TopicState:
    return TopicState("t", partitions, factor, {"retention.ms": "1000"})


def test_what_is_missing_is_created_and_what_differs_altered() -> None:
    wanted = [Topic("t", 4, config={"retention.ms": "2000"}), Topic("new", 2)]
    plan = plan_topics(wanted, {"t": state()})
    assert [topic.name for topic in plan.create] == ["new"]
    assert [(c.setting, c.before, c.after) for c in plan.alter] == [
        ("retention.ms", "1000", "2000")
    ]
    assert not plan.drift


def test_settings_that_nobody_stated_are_left_alone() -> None:
    assert plan_topics([Topic("t", 4)], {"t": TopicState("t", 4, 1, {"segment.ms": "1"})}).empty


@pytest.mark.parametrize("partitions", [2, 8])
def test_partitions_are_never_changed(partitions: int) -> None:
    admin = FakeTopics()
    admin.states["t"] = state(partitions)
    plan = plan_topics([Topic("t", 4)], admin.states)
    apply_topics(plan, admin)
    assert admin.states["t"].partitions == partitions
    assert "another partition" in plan.drift[0].message
    assert plan.empty  # drift is shown, not done


def test_replication_is_compared_only_where_it_is_stated() -> None:
    assert not plan_topics([Topic("t", 4)], {"t": state(factor=1)}).drift
    (drift,) = plan_topics([Topic("t", 4, 3)], {"t": state(factor=1)}).drift
    assert "kept 1 time(s), not 3" in drift.message


def test_applying_twice_does_nothing_the_second_time(tmp_path: Path) -> None:
    wanted, admin = load_topics(a_connector(tmp_path)), FakeTopics()
    names = [topic.name for topic in wanted]
    apply_topics(plan_topics(wanted, admin.describe(names)), admin)
    assert set(admin.states) == set(names)
    assert plan_topics(wanted, admin.describe(names)).empty


def test_debeziums_lists() -> None:
    assert split_list(r"finance.titles, finance.t{1\,2} ,") == ("finance.titles", "finance.t{1,2}")
    assert is_match(r"finance\.titles", "Finance.Titles")
    assert not is_match("finance.title", "finance.titles")
    with pytest.raises(ConfigError, match="regular expression"):
        is_match("finance.(", "finance.titles")
