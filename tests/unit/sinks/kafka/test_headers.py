"""Records in a compacted topic whose headers somebody else wrote."""

from __future__ import annotations

import pytest

from callsheet.errors import PreconditionError
from callsheet.ports import SystemClock
from callsheet.sink import Holding
from sinks.kafka.erasure import LatestEraser
from sinks.kafka.inventory import LatestInventory
from sinks.kafka.settings import KafkaSinkSettings
from tests.support.batches import a_schema
from tests.support.envelopes import FakeMessage

SETTINGS = KafkaSinkSettings.model_validate({"mode": "latest", "registry": {"url": "http://r"}})
SCHEMA = a_schema()


def a_state(key: str, version: bytes | None, value: bytes | None = b"x") -> FakeMessage:
    return FakeMessage(value, key.encode(), headers_=[("callsheet-version", version)])


FOREIGN = [a_state("2", b"v1"), a_state("3", b""), a_state("4", None), a_state("1", b"-1", None)]


@pytest.mark.parametrize(
    "records", [[a_state("1", b"5"), *FOREIGN], [*FOREIGN, a_state("1", b"5")]]
)
def test_an_inventory_passes_over_versions_that_are_no_numbers(records: list[FakeMessage]) -> None:
    inventory = LatestInventory(SETTINGS, lambda _: iter(records))
    assert inventory.alive("studio.finance.titles", SCHEMA) == 1
    assert list(inventory.older("studio.finance.titles", SCHEMA, 6)) == [("1",)]


def test_an_eraser_passes_over_them_as_well() -> None:
    eraser = LatestEraser(SETTINGS, None, lambda _: iter([a_state("1", b"v1")]), SystemClock())
    assert eraser.look("studio.finance.titles", SCHEMA, ["1"]) == {"1": Holding(True, None)}


def test_whoever_erases_without_a_transaction_is_told_how() -> None:
    eraser = LatestEraser(SETTINGS, None, lambda _: iter(()), SystemClock())
    with pytest.raises(PreconditionError) as raised:
        eraser.erase("studio.finance.titles", SCHEMA, ["1"])
    assert "callsheet erase" in raised.value.hint
