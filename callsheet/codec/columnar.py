"""The columnar path: a group of records at once, through the native decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import polars as pl

from callsheet.batch import Message
from callsheet.codec.envelope import Identity, Layout


class ColumnarTable(Protocol):
    """Decodes the records of one layout and table."""

    def decode(self, messages: Sequence[Message]) -> tuple[pl.DataFrame, Sequence[int]]:
        """The frame of the accepted records in their order, and the indices of the refused."""
        ...


class Columns(Protocol):
    """Makes the columnar decoder of one table; None where it cannot."""

    def table(self, layout: Layout, identity: Identity, epoch: int) -> ColumnarTable | None: ...
