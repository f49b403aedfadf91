from __future__ import annotations

import pytest

from connectors.grants import Grant, is_allowed, parse_grants
from connectors.rights import judge, written_table

LEAST = (
    "GRANT SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `c`@`%`",
    "GRANT FLUSH_TABLES ON *.* TO `c`@`%`",
    "GRANT SELECT, LOCK TABLES ON `finance`.* TO `c`@`%`",
    "GRANT INSERT, UPDATE ON `finance`.`callsheet_heartbeat` TO `c`@`%`",
    "GRANT INSERT, UPDATE, DELETE ON `finance`.`callsheet_signal` TO `c`@`%`",
)
HEARTBEAT, SIGNALS = "finance.callsheet_heartbeat", "finance.callsheet_signal"


def levels(*lines: str) -> dict[str, str]:
    return {f.level: f.message for f in judge(lines, ["finance"], HEARTBEAT, SIGNALS)}


def without(text: str) -> tuple[str, ...]:
    return tuple(line.replace(text, "USAGE", 1) for line in LEAST)


def test_the_least_privileges_are_enough_and_not_too_much() -> None:
    assert list(levels(*LEAST)) == ["ok"]


@pytest.mark.parametrize(
    ("right", "named"),
    [
        ("REPLICATION SLAVE", "REPLICATION SLAVE ON *.*"),
        ("REPLICATION CLIENT", "REPLICATION CLIENT ON *.*"),
        ("FLUSH_TABLES", "FLUSH_TABLES ON *.*"),
        ("SELECT", "SELECT ON finance.*"),
    ],
)
def test_a_missing_right_is_named(right: str, named: str) -> None:
    assert named in levels(*without(right))["fail"]


def test_the_heartbeat_row_must_be_writable() -> None:
    assert "UPDATE ON finance.callsheet_heartbeat" in levels(*without("INSERT, UPDATE"))["fail"]


@pytest.mark.parametrize(
    "line",
    [
        "GRANT ALL PRIVILEGES ON *.* TO `c`@`%`",
        "GRANT SELECT ON *.* TO `c`@`%`",
        "GRANT DELETE ON `finance`.* TO `c`@`%`",
        "GRANT SELECT ON `payroll`.* TO `c`@`%`",
        "GRANT SUPER ON *.* TO `c`@`%`",
        "GRANT SELECT ON `finance`.* TO `c`@`%` WITH GRANT OPTION",
    ],
)
def test_more_than_needed_is_a_warning(line: str) -> None:
    assert list(levels(*LEAST, line)) == ["warn"]


def test_reload_serves_for_flush_tables() -> None:
    lines = (*without("FLUSH_TABLES"), "GRANT RELOAD ON *.* TO `c`@`%`")
    assert list(levels(*lines)) == ["ok"]


def test_parsing() -> None:
    grants = parse_grants(
        [
            "GRANT `role`@`%` TO `c`@`%`",
            "GRANT SELECT (`a`, `b`), INSERT ON `db`.`t` TO `c`@`%`",
            r"GRANT SELECT ON `my\_db`.* TO `c`@`%`",
            "GRANT USAGE ON *.* TO `c`@`%`",
        ]
    )
    assert grants == (Grant("INSERT", "db", "t"), Grant("SELECT", r"my\_db", "*"))
    assert is_allowed(grants, "SELECT", "my_db")
    assert not is_allowed(grants, "SELECT", "myXdb")


def test_a_wildcard_in_a_schemas_name_matches_as_like_does() -> None:
    grants = parse_grants(["GRANT SELECT ON `fin%`.* TO `c`@`%`"])
    assert is_allowed(grants, "SELECT", "finance")
    assert not is_allowed(grants, "SELECT", "payroll")
    assert not is_allowed(grants, "SELECT")


@pytest.mark.parametrize(
    ("query", "table"),
    [
        ("INSERT INTO finance.callsheet_heartbeat (id) VALUES (1)", "finance.callsheet_heartbeat"),
        ("INSERT /*+ SET_VAR(a=1) */ INTO f.beat (id) VALUES (1)", "f.beat"),
        ("UPDATE /*+ SET_VAR(a=1) */ f.beat SET id = 1", "f.beat"),
        ("update `finance`.`beat` set a = 1", "finance.beat"),
        ("CALL beat()", ""),
    ],
)
def test_the_table_that_a_heartbeat_writes(query: str, table: str) -> None:
    assert written_table(query) == table
