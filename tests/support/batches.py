"""The builders that ship with the sink laws, under the name by which the tests here know them."""

from __future__ import annotations

from callsheet.testing.batches import (
    RawMessage,
    Row,
    a_batch,
    a_schema,
    delete,
    polars_type,
    upsert,
)

__all__ = ["RawMessage", "Row", "a_batch", "a_schema", "delete", "polars_type", "upsert"]
