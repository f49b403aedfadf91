"""What a sink is tested with, by whoever writes one, in this repository or in another.

A test class derives from :class:`SinkLaws` and gives one fixture, a :class:`Destination`: then each
law of :class:`callsheet.sink.Sink` is a test of it. ``docs/writing-a-sink.md`` has a whole one::

    from callsheet.testing import Destination, SinkLaws


    class TestOurSink(SinkLaws):
        @pytest.fixture
        def destination(self) -> Destination: ...

The only package of the product that imports pytest, which is none of its dependencies: install it
where the tests run. Nothing of the product imports this.
"""

from __future__ import annotations

import pytest

# Before they are imported: a broken law then shows its values, as in a test file.
pytest.register_assert_rewrite("callsheet.testing.laws")

from callsheet.testing.batches import Row, a_batch, a_schema, delete, upsert  # noqa: E402
from callsheet.testing.destination import CLOCK, Destination, Ledger, within  # noqa: E402
from callsheet.testing.laws import SinkLaws  # noqa: E402

__all__ = [
    "CLOCK",
    "Destination",
    "Ledger",
    "Row",
    "SinkLaws",
    "a_batch",
    "a_schema",
    "delete",
    "upsert",
    "within",
]
