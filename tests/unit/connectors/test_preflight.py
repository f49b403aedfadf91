from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from callsheet.doctor import Finding
from callsheet.errors import PreconditionError, UnavailableError
from callsheet.kafka.topics import TopicState
from connectors.preflight import Wanted, judge, refuse
from connectors.source import Address, BinlogFile, Compression, SourceFacts, SourceTable
from connectors.survey import MysqlSurvey, diagnose
from tests.unit.connectors.builders import a_connector, at
from tests.unit.connectors.test_grants import LEAST

TABLES = (
    "titles", "productions", "slate_entries", "budgets", "cash_flows", "talent",
    "talent_payments", "callsheet_heartbeat", "callsheet_signal",
)  # fmt: skip
GOOD = SourceFacts(
    variables={
        "version": "9.7.4",
        "log_bin": "ON",
        "binlog_format": "ROW",
        "binlog_row_image": "FULL",
        "binlog_row_value_options": "",
        "binlog_transaction_compression": "OFF",
        "binlog_expire_logs_seconds": "86400",
        "binlog_expire_logs_auto_purge": "ON",
        "gtid_mode": "ON",
        "enforce_gtid_consistency": "ON",
        "server_id": "4242",
        "super_read_only": "OFF",
        "time_zone": "SYSTEM",
        "system_time_zone": "UTC",
    },
    grants=LEAST,
    tables=tuple(SourceTable("finance", name, "InnoDB", has_primary_key=True) for name in TABLES),
    position=at(5000),
    binlogs=(BinlogFile(at(4, 6), 10_000_000), BinlogFile(at(4, 7), 5000)),
    compression=Compression(("'root'@'localhost'",), 0),
)


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    file = a_connector(tmp_path)
    return Wanted.of(file.name, file.config, downtime_budget_hours=24)


def troubles(found: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.name: finding for finding in found if finding.level != "ok"}


def with_variables(changes: Mapping[str, str]) -> SourceFacts:
    return replace(GOOD, variables={**GOOD.variables, **changes})


def test_a_fit_server_has_nothing_but_ok(wanted: Wanted) -> None:
    found = judge(GOOD, wanted)
    assert troubles(found) == {}
    assert {"log_bin", "gtid_mode", "server_id", "tables"} <= {f.name for f in found}
    refuse(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("log_bin", "OFF"),
        ("binlog_format", "STATEMENT"),
        ("binlog_format", "MIXED"),
        ("binlog_row_image", "MINIMAL"),
        ("binlog_row_value_options", "PARTIAL_JSON"),
        ("gtid_mode", "OFF"),
        ("gtid_mode", "ON_PERMISSIVE"),
        ("enforce_gtid_consistency", "WARN"),
        ("binlog_transaction_compression", "ON"),
        ("super_read_only", "ON"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_with_what_to_set(
    wanted: Wanted, name: str, value: str
) -> None:
    found = judge(with_variables({name: value}), wanted)
    assert troubles(found)[name].level == "fail"
    with pytest.raises(PreconditionError, match=name) as caught:
        refuse(found)
    assert value in caught.value.message or name == "super_read_only"
    assert caught.value.hint


def test_every_failure_is_in_the_one_refusal(wanted: Wanted) -> None:
    facts = with_variables({"binlog_format": "MIXED", "gtid_mode": "OFF"})
    with pytest.raises(PreconditionError, match=r"binlog_format.*gtid_mode"):
        refuse(judge(facts, wanted))


def test_an_option_that_an_older_server_lacks_is_not_wrong(wanted: Wanted) -> None:
    variables = dict(GOOD.variables)
    del variables["binlog_transaction_compression"], variables["binlog_row_value_options"]
    assert troubles(judge(replace(GOOD, variables=variables), wanted)) == {}


@pytest.mark.parametrize(
    "facts",
    [
        with_variables({"server_id": "184001"}),
        with_variables({"server_id": "0"}),
        replace(GOOD, replica_ids=(7, 184001)),
    ],
)
def test_a_server_id_that_is_taken_or_none(wanted: Wanted, facts: SourceFacts) -> None:
    assert troubles(judge(facts, wanted))["server_id"].level == "fail"


@pytest.mark.parametrize(
    ("seconds", "purge", "level"),
    [("3600", "ON", "fail"), ("86399", "ON", "fail"), ("0", "ON", "warn"), ("3600", "OFF", "warn")],
)
def test_retention_against_the_downtime_budget(
    wanted: Wanted, seconds: str, purge: str, level: str
) -> None:
    facts = with_variables(
        {"binlog_expire_logs_seconds": seconds, "binlog_expire_logs_auto_purge": purge}
    )
    assert troubles(judge(facts, wanted))["binlog_expire_logs_seconds"].level == level


def test_a_table_without_primary_key_is_refused_by_name(wanted: Wanted) -> None:
    tables = (*GOOD.tables[1:], SourceTable("finance", "titles", "InnoDB", has_primary_key=False))
    finding = troubles(judge(replace(GOOD, tables=tables), wanted))["tables without primary key"]
    assert finding.level == "fail"
    assert "finance.titles" in finding.message


def test_a_keyless_table_that_is_not_captured_is_nobodys_business(wanted: Wanted) -> None:
    other = SourceTable("finance", "scratch", "MEMORY", has_primary_key=False)
    assert troubles(judge(replace(GOOD, tables=(*GOOD.tables, other)), wanted)) == {}


def test_an_engine_without_transactions_is_refused(wanted: Wanted) -> None:
    tables = (*GOOD.tables[1:], SourceTable("finance", "titles", "MyISAM", has_primary_key=True))
    assert (
        "MyISAM" in troubles(judge(replace(GOOD, tables=tables), wanted))["storage engine"].message
    )


@pytest.mark.parametrize("name", ["talent", "callsheet_signal"])
def test_a_missing_table_is_refused_by_name(wanted: Wanted, name: str) -> None:
    tables = tuple(table for table in GOOD.tables if table.name != name)
    finding = troubles(judge(replace(GOOD, tables=tables), wanted))["missing tables"]
    assert finding.level == "fail"
    assert f"finance.{name}:" in finding.message


@pytest.mark.parametrize(
    ("committed", "said", "hint"),
    [
        (at(9000), "behind the connector's", "source.epochs"),
        (at(4, 8), "behind the connector's", "docs/operations.md"),
        (at(100, 5), "is purged", "callsheet sweep"),
    ],
)
def test_a_log_that_does_not_go_on_where_the_connector_left_off(
    wanted: Wanted, committed: object, said: str, hint: str
) -> None:
    found = troubles(judge(GOOD, wanted, committed=committed, history=HISTORY))  # type: ignore[arg-type]
    assert found["binlog"].level == "fail"
    assert said in found["binlog"].message
    assert hint in found["binlog"].hint


def test_a_log_that_goes_on(wanted: Wanted) -> None:
    assert troubles(judge(GOOD, wanted, committed=at(4000), history=HISTORY)) == {}


def test_an_ordinal_beyond_what_a_version_holds(wanted: Wanted) -> None:
    found = judge(replace(GOOD, position=at(4, 2**31)), wanted)
    assert troubles(found)["binlog"].level == "fail"


@pytest.mark.parametrize(
    ("compression", "level"),
    [
        (Compression(("'root'@'localhost'", "'etl'@'%'"), 0), "warn"),
        (Compression((), 3), "warn"),
        (Compression((), 0), "ok"),
        (None, "ok"),
    ],
)
def test_who_may_compress_transactions(
    wanted: Wanted, compression: Compression | None, level: str
) -> None:
    found = troubles(judge(replace(GOOD, compression=compression), wanted))
    assert ("transaction compression by sessions" in found) is (level == "warn")


@pytest.mark.parametrize(
    ("zone", "system", "fine"),
    [("SYSTEM", "UTC", True), ("+00:00", "CET", True), ("SYSTEM", "CET", False)],
)
def test_the_time_zone(wanted: Wanted, zone: str, system: str, *, fine: bool) -> None:
    facts = with_variables({"time_zone": zone, "system_time_zone": system})
    assert ("time_zone" not in troubles(judge(facts, wanted))) is fine


HISTORY = TopicState(
    "_schema-history.studio", 1, 1, {"cleanup.policy": "delete", "retention.ms": "-1"}
)


@pytest.mark.parametrize(
    ("history", "level"),
    [
        (HISTORY, None),
        (replace(HISTORY, config={"retention.ms": str(2**63 - 1)}), None),
        (replace(HISTORY, config={"retention.ms": "604800000"}), "warn"),
        (replace(HISTORY, config={"retention.ms": "-1", "retention.bytes": "9"}), "warn"),
        (replace(HISTORY, partitions=2), "fail"),
        (replace(HISTORY, config={"cleanup.policy": "compact", "retention.ms": "-1"}), "fail"),
        (None, "fail"),
    ],
)
def test_the_schema_history(wanted: Wanted, history: TopicState | None, level: str | None) -> None:
    found = troubles(judge(GOOD, wanted, committed=at(4000), history=history))
    assert (found.get("topic _schema-history.studio") or Finding("", "", "ok", "")).level == (
        level or "ok"
    )


def test_a_missing_history_is_fine_for_a_new_connector_and_for_recovery(wanted: Wanted) -> None:
    assert troubles(judge(GOOD, wanted, history=None)) == {}
    recovering = replace(wanted, recovers_history=True)
    assert troubles(judge(GOOD, recovering, committed=at(4000), history=None)) == {}


def test_an_unset_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="CALLSHEET_MYSQL_HOST"):
        Address.of(a_connector(tmp_path).config, {})


def test_a_port_that_is_no_number_is_said_with_where_to_look(tmp_path: Path) -> None:
    file = a_connector(tmp_path, {"database.port": "mysql"})
    with pytest.raises(PreconditionError, match=r"database\.port") as raised:
        Address.of(file.config, ENVIRONMENT)
    assert "3306" in raised.value.hint


ENVIRONMENT = {
    "CALLSHEET_MYSQL_HOST": "127.0.0.1",
    "CALLSHEET_MYSQL_PORT": "1",
    "CALLSHEET_CAPTURE_PASSWORD": "hunter2",
}


def test_the_password_is_not_in_the_address_that_is_shown(tmp_path: Path) -> None:
    address = Address.of(a_connector(tmp_path).config, ENVIRONMENT)
    assert address.password == "hunter2"
    assert "hunter2" not in repr(address)


def test_an_absent_server_is_an_error_for_apply_and_a_finding_for_the_doctor(
    tmp_path: Path,
) -> None:
    file, survey = a_connector(tmp_path), MysqlSurvey(ENVIRONMENT)
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1 does not answer"):
        survey.findings(file)
    (finding,) = diagnose(survey, file)
    assert finding.level == "fail"
    assert "hunter2" not in finding.message


@pytest.mark.parametrize(
    ("mysql", "declared", "level"),
    [
        ("UTC", "UTC", "ok"),
        ("Europe/Berlin", "UTC", "warn"),
        ("CET", "Europe/Berlin", "ok"),
        ("+00:00", "America/Los_Angeles", "warn"),
    ],
)
def test_the_zone_of_datetime_is_declared_and_compared(
    wanted: Wanted, mysql: str, declared: str, level: str
) -> None:
    found = judge(with_variables({"time_zone": mysql}), replace(wanted, datetime_zone=declared))
    finding = next(each for each in found if each.name == "time_zone")
    assert finding.level == level
    assert mysql in finding.message
    assert declared in finding.message
    assert ("callsheet.datetime.zone" in finding.hint) == (level == "warn")


def test_the_zone_is_that_of_the_connectors_file(tmp_path: Path) -> None:
    file = a_connector(tmp_path, {"callsheet.datetime.zone": "Europe/Paris"})
    asked = Wanted.of(file.name, file.config, downtime_budget_hours=24)
    assert asked.datetime_zone == "Europe/Paris"
