"""What Debezium writes of a table with every MySQL type is what tests/golden/ says it is.

``pytest tests/integration/test_golden_envelopes.py --update-golden`` records it anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from confluent_kafka import Message

from callsheet.codec.avro import schema_id
from finance.database import Role
from stack import Stack
from tests.support import mysql_types
from tests.support.golden import (
    decoder,
    dialect_of,
    golden_form,
    is_to_be_written,
    path_of,
    recording,
    rows_of,
)
from tests.support.main_job import MainJob, a_main_job
from tests.support.polling import until
from tests.support.recorded import Recording, kept, save

__all__ = ["is_to_be_written"]
pytestmark = pytest.mark.slow

TABLE: Final = "every_type"
SCHEMA_IN_IT: Final = {
    "key.converter.schemas.enable": "true", "value.converter.schemas.enable": "true",
}  # fmt: skip
SETTINGS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "avro": ("avro", {}), "json": ("json", {}), "embedded": ("json", SCHEMA_IN_IT),
}  # fmt: skip
BRIEF: Final = {"words": "'wort'"}
"""Instead of tens of thousands of letters."""


@pytest.mark.parametrize("wire", SETTINGS)
def test_every_type_is_as_recorded(
    wire: str, live_stack: Stack, tmp_path: Path, is_to_be_written: bool
) -> None:
    committed, unchecked = SETTINGS[wire]
    with a_main_job(live_stack, tmp_path, wire=committed, tables=(TABLE,), partitions=1) as job:
        execute(job, [mysql_types.create(TABLE), *mysql_types.insert(TABLE, **BRIEF)])
        job.start_capture(unchecked=unchecked)
        job.wait_for_capture()
        another, _ = mysql_types.insert(TABLE, **BRIEF, id="-6")
        update = f"UPDATE {TABLE} SET money = 0.10, flag = NULL, kind = 'film' WHERE id = -7"
        execute(job, [another, update, f"DELETE FROM {TABLE} WHERE id = 8"])
        found = captured(job, wire)
        if is_to_be_written:
            save(path_of(wire), found)

    decoded = decoder(dialect_of(wire, found), None).decode(found.messages)
    assert not decoded.poison
    golden = recording(wire)
    expected = decoder(dialect_of(wire, golden), None).decode(golden.messages)
    assert rows_of(golden_form(decoded.batches)) == rows_of(golden_form(expected.batches))


def execute(job: MainJob, statements: Sequence[str]) -> None:
    """Each in a transaction of its own."""
    with job.database.engine(Role.ADMIN).connect() as connection:
        connection.exec_driver_sql(mysql_types.SQL_MODE)
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))
            connection.commit()


def captured(job: MainJob, wire: str) -> Recording:
    """Two rows of the snapshot, an insert, an update, a delete and its tombstone."""
    found: list[Message] = []

    def all_is_there() -> bool:
        found[:] = job.records([job.topic(TABLE)])
        return len(found) == 6

    until(all_is_there, "all records are there")
    what = "Debezium 3.6.1, its records of one table with every MySQL type"
    return Recording(what, [kept(message) for message in found], schemas_of(job, wire, found))


def schemas_of(job: MainJob, wire: str, messages: Sequence[Message]) -> dict[int, Any]:
    if wire != "avro":
        return {}
    parts = [part for message in messages for part in (message.key(), message.value()) if part]
    url = job.environ["CALLSHEET_REGISTRY_URL"]
    schemas: dict[int, Any] = {}
    for identifier in sorted({schema_id(part) for part in parts}):
        answer = httpx.get(f"{url}/schemas/ids/{identifier}", timeout=20)
        schemas[identifier] = json.loads(answer.raise_for_status().json()["schema"])
    return schemas
