"""What Hive is told, and when it is told nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from callsheet.batch import Partition
from callsheet.config.fields import TableRules
from callsheet.errors import FatalError
from callsheet.fields.columns import KeyedHash
from callsheet.fields.projection import projection
from callsheet.schema import Column, Kind, TableSchema
from sinks.hive import ddl
from sinks.hive.folding import fold_lane
from sinks.hive.layout import TableLayout
from sinks.hive.ranges import OWN_FOLDER, RangeLog
from sinks.hive.registration import Registration
from sinks.hive.stores.port import Store
from sinks.hive.visibility import NamedDates
from tests.support.batches import a_batch, a_schema, upsert
from tests.support.hive import a_sink, memory_store, within

LATER = datetime(2040, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("BIGINT", "BIGINT", "BIGINT"),
        ("INT", "BIGINT", "BIGINT"),
        ("DECIMAL(6,2)", "DECIMAL(8,4)", "DECIMAL(8,4)"),
        ("DECIMAL(10,0)", "DECIMAL(6,4)", "DECIMAL(14,4)"),
        ("DECIMAL(38,0)", "DECIMAL(38,1)", "STRING"),
        ("BIGINT", "DECIMAL(20,0)", "DECIMAL(20,0)"),
        ("INT", "DECIMAL(4,2)", "DECIMAL(12,2)"),
        ("DATE", "TIMESTAMP", "STRING"),
        ("STRING", "DOUBLE", "STRING"),
    ],
)
def test_a_common_type_holds_the_values_of_both(one: str, other: str, both: str) -> None:
    assert ddl.common(one, other) == both
    assert ddl.common(other, one) == both
    assert ddl.common(both, one) == both


def test_texts_are_quoted() -> None:
    assert ddl.literal("file:///it's\\here") == "'file:///it\\'s\\\\here'"
    assert "`after_a b`" in ddl.create_table("t", {"after_a b": "STRING"}, "file:///x")


class FakeHive:
    """Remembers what it was told, and answers as Hive would."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.tables: dict[str, dict[str, str]] = {}
        self.comments: dict[str, str] = {}
        self.partitions: list[str] = []
        self.location = ""

    def run(self, statement: str) -> None:
        self.told.append(statement)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        if statement.startswith("SHOW TABLES"):
            return [(name,) for name in self.tables]
        if statement.startswith("SHOW TBLPROPERTIES"):
            return [("EXTERNAL", "TRUE"), (ddl.LOCATION_PROPERTY, self.location)]
        if statement.startswith("SHOW PARTITIONS"):
            return [(f"event_date={date}",) for date in self.partitions]
        if statement.startswith("DESCRIBE"):
            columns = self.tables.get("finance_plans", {})
            listed = [(n, kind.lower(), self.comments.get(n)) for n, kind in columns.items()]
            return [*listed, ("event_date", "date", ""), ("", None, None), ("# Partition", "", "")]
        return []


def take(store: Store, offset: int, day: int = 0) -> None:
    sink = a_sink(store)
    sink.open()
    sink.assigned([Partition("studio.finance.plans", 0)])
    schema = a_schema(Column("name", Kind.STRING), table="plans")
    row = upsert(offset, name="x")
    row = replace(row, ts_us=row.ts_us + day * 86_400_000_000)
    sink.write(a_batch([row], schema, first_offset=offset, first_version=offset + 1), within())
    sink.flush(within())
    sink.close()


@pytest.fixture
def store() -> Store:
    return memory_store()


@pytest.fixture
def log(store: Store) -> RangeLog:
    take(store, 0)
    return RangeLog(store)


def registration(log: RangeLog, hive: FakeHive) -> Registration:
    return Registration(log, hive, "audit", "s3a://bucket/audit")


def test_a_new_table_is_made_with_its_partitions_and_views(log: RangeLog) -> None:
    hive = FakeHive()
    done = registration(log, hive).run()
    assert done.tables == ["finance_plans"]
    assert done.partitions == {"finance_plans": 1}
    assert len(done.views) == 3
    database, table, partition, *views = hive.told
    assert database == "CREATE DATABASE IF NOT EXISTS `audit`"
    assert "LOCATION 's3a://bucket/audit/finance_plans'" in table
    assert "`after_name` STRING" in table
    assert partition.endswith("PARTITION (`event_date`='2027-01-15')")
    assert all(view.startswith("CREATE OR REPLACE VIEW `audit`.`finance_plans_") for view in views)


def test_what_is_there_is_left_alone_whatever_hive_has_beside_it(log: RangeLog) -> None:
    hive = FakeHive()
    wanted = ddl.columns_of(log.schemas("finance_plans"))
    views: dict[str, dict[str, str]] = {
        f"finance_plans_{view}": {} for view in ("history", "latest", "as_of")
    }
    # A column that was there before the log was cut, and a type that holds more.
    hive.tables = {
        "finance_plans": {**wanted, "after_gone": "STRING", "after_id": "STRING"},
        **views,
    }
    hive.partitions = ["2027-01-15", "2026-01-01"]
    hive.location = "s3a://bucket/audit/finance_plans"
    assert not registration(log, hive).run()
    assert hive.told == ["CREATE DATABASE IF NOT EXISTS `audit`"]


def test_new_columns_reach_the_partitions_that_there_are(log: RangeLog) -> None:
    hive = FakeHive()
    wanted = ddl.columns_of(log.schemas("finance_plans"))
    old = {name: kind for name, kind in wanted.items() if not name.endswith("_name")}
    hive.tables = {"finance_plans": {**old, "after_id": "INT"}}
    hive.location = "s3a://bucket/audit/finance_plans"
    done = registration(log, hive).run()
    assert done.columns == {"finance_plans": 2}
    name = "`audit`.`finance_plans`"
    assert hive.told[1:3] == [
        f"ALTER TABLE {name} ADD COLUMNS (`before_name` STRING, `after_name` STRING) CASCADE",
        f"ALTER TABLE {name} CHANGE COLUMN `after_id` `after_id` BIGINT CASCADE",
    ]
    assert len(done.views) == 3


def test_a_table_of_another_audit_is_not_touched(log: RangeLog) -> None:
    hive = FakeHive()
    hive.tables = {"finance_plans": {}}
    hive.location = "s3a://elsewhere"
    with pytest.raises(FatalError, match="of another audit, at s3a://elsewhere"):
        registration(log, hive).run()
    assert len(hive.told) == 1


def test_who_comes_again_reads_only_what_is_new(log: RangeLog, store: Store) -> None:
    dates, lane = NamedDates(), "studio.finance.plans-0"
    assert dates.read(log) == {"finance_plans": {"2027-01-15": {lane: 1}}}
    old = [entry.name for entry in log.entries(lane)]
    take(store, 1, day=3)
    store.remove(f"{OWN_FOLDER}/ranges/{lane}/{old[0]}")  # not read again
    assert dates.read(log) == {"finance_plans": {"2027-01-15": {lane: 1}, "2027-01-18": {lane: 2}}}


def test_who_comes_again_after_a_fold_has_all_dates(log: RangeLog, store: Store) -> None:
    dates, lane = NamedDates(), "studio.finance.plans-0"
    dates.read(log)
    for offset in (1, 2):
        take(store, offset, day=offset)
    assert fold_lane(log, lane, {}, LATER, older_than_s=0, fewest=1) == 5
    assert len(list(log.entries(lane))) == 2
    known = {"2027-01-15": {lane: 1}, "2027-01-16": {lane: 2}, "2027-01-17": {lane: 3}}
    assert dates.read(log) == {"finance_plans": known}
    assert NamedDates().read(log) == {"finance_plans": known}


def test_a_table_without_any_file_yet_is_left_for_later(store: Store) -> None:
    store.create(f"{OWN_FOLDER}/tables/finance_plans.json", b"{}")
    hive = FakeHive()
    registration(RangeLog(store), hive).run()
    assert len(hive.told) == 1


# --- what field rules have written ----------------------------------------------------------------

PLAIN = a_schema(Column("name", Kind.STRING), Column("email", Kind.STRING), table="plans")
RULES = {"mask": {"name": {}}, "hash": ["email"], "constant": {"origin": "it's"}}
RULED = {
    f"{image}_{name}": word
    for image in ("before", "after")
    for name, word in {"name": "masked", "email": "hashed", "origin": "constant"}.items()
}


def ruled(**rules: Any) -> TableSchema:
    made = TableRules.model_validate({"table": "finance.*", **rules})
    return projection(made, PLAIN, KeyedHash("k" * 32), {}).schema


def an_audit_of(*schemas: TableSchema) -> RangeLog:
    log = RangeLog(memory_store())
    for schema in schemas:
        log.add_schema("finance_plans", TableLayout("t", schema))
    return log


def test_what_a_rule_has_written_is_told_in_the_audits_own_schema_and_in_hives() -> None:
    log, hive = an_audit_of(ruled(**RULES)), FakeHive()
    (stored,) = log.schemas("finance_plans")
    told = {each.name: each.rule for each in stored.columns if each.rule}
    assert (told["before_name"], told["after_email"]) == ("mask", "hash")
    assert ddl.comments_of([stored]) == RULED
    registration(log, hive).run()
    created = hive.told[1]
    assert "`before_name` STRING COMMENT 'masked',\n" in created
    assert "`after_email` STRING COMMENT 'hashed',\n" in created
    assert "`after_origin` STRING COMMENT 'constant'\n)" in created
    assert "`after_id` BIGINT,\n" in created
    assert created.count("COMMENT") == 6


def test_a_stored_schema_without_rules_is_byte_by_byte_what_it_was_and_still_read() -> None:
    log = an_audit_of(PLAIN)
    path = f"{OWN_FOLDER}/schemas/finance_plans/{PLAIN.fingerprint}.json"
    document = json.loads(log.store.read(path) or b"")
    assert {frozenset(column) for column in document["columns"]} == {
        frozenset({"name", "hive", "source", "source_type"})
    }
    (stored,) = log.schemas("finance_plans")
    assert {column.rule for column in stored.columns} == {""}
    assert ddl.comments_of([stored]) == {}


def test_columns_that_are_added_or_masked_later_get_their_comments_once() -> None:
    log, hive = an_audit_of(PLAIN, ruled(**RULES)), FakeHive()
    wanted = ddl.columns_of(log.schemas("finance_plans"))
    hive.tables["finance_plans"] = {n: k for n, k in wanted.items() if not n.endswith("_origin")}
    hive.comments = {"before_id": "somebody's own"}
    hive.location = "s3a://bucket/audit/finance_plans"
    done = registration(log, hive).run()
    name = "`audit`.`finance_plans`"
    assert set(hive.told[1:6]) == {
        (
            f"ALTER TABLE {name} ADD COLUMNS (`before_origin` STRING COMMENT 'constant', "
            "`after_origin` STRING COMMENT 'constant') CASCADE"
        ),
        *(
            f"ALTER TABLE {name} CHANGE COLUMN `{c}` `{c}` STRING COMMENT '{RULED[c]}' CASCADE"
            for c in ("before_name", "before_email", "after_name", "after_email")
        ),
    }
    assert done.columns == {"finance_plans": 5}
    hive.tables["finance_plans"] = wanted
    hive.comments |= RULED
    assert not registration(log, hive).run().columns


def test_a_column_that_was_masked_and_is_hashed_now_tells_both() -> None:
    log = an_audit_of(ruled(mask={"name": {}}), ruled(hash=["name"]))
    comments = ddl.comments_of(log.schemas("finance_plans"))
    assert comments == dict.fromkeys(("before_name", "after_name"), "hashed, masked")
