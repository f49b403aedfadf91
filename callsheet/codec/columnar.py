"""The columnar path: a group of records at once, through the native decoder."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import polars as pl

from callsheet.batch import FRAME_SCHEMA, Edges
from callsheet.codec.plan import PLAN_VERSION


class NativeColumns(Protocol):
    """Rows in the native module's memory, for whoever speaks Arrow, or is the module itself."""

    def __len__(self) -> int: ...
    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]: ...
    def span(self, name: str) -> tuple[int, int] | None:
        """The least and the greatest value of a column of integers."""
        ...

    def places(self) -> tuple[bool, Mapping[int, Edges]]: ...
    def ends(self) -> dict[int, int]: ...


class NativeDecoder(Protocol):
    """One table's decoder. Keeps its memory between calls; each call stands for itself."""

    def decode(
        self,
        values: list[bytes],
        keys: list[bytes | None],
        partitions: list[int],
        offsets: list[int],
    ) -> tuple[NativeColumns, list[tuple[int, str]]]:
        """Columns of the accepted records in order, and (index, why) of the refused."""
        ...


class NativeModule(Protocol):
    """What ``callsheet_native`` offers; tests inject their own, or None."""

    Decoder: Callable[[str], NativeDecoder]
    PLAN_VERSION: int


def load_native() -> NativeModule | None:
    """The native module, where one that speaks our plans is installed. Without it the row path
    serves, as safe, slower.
    """
    try:
        module = cast("NativeModule", importlib.import_module("callsheet_native"))
    except ModuleNotFoundError as fault:
        if fault.name != "callsheet_native":
            raise
        return None
    return module if getattr(module, "PLAN_VERSION", None) == PLAN_VERSION else None


@dataclass(frozen=True, slots=True)
class DecodedColumns:
    """Implements :class:`callsheet.batch.Columns`. ``absent``: what the records do not have."""

    native: NativeColumns
    absent: Sequence[str]

    def __len__(self) -> int:
        return len(self.native)

    def frame(self) -> pl.DataFrame:
        frame = pl.Series(self.native).struct.unnest()
        if self.absent:
            nulls = [pl.lit(None, FRAME_SCHEMA[name]).alias(name) for name in self.absent]
            frame = frame.with_columns(nulls).select(*FRAME_SCHEMA, "before", "after")
        return frame

    def times(self) -> tuple[int, int]:
        found = self.native.span("ts_us")
        if found is None:
            raise ValueError("no row has a time")
        return found

    def places(self) -> tuple[bool, Mapping[int, Edges]]:
        return self.native.places()

    def ends(self) -> dict[int, int]:
        return self.native.ends()


class ColumnarTable:
    """Decodes the records of one table under one pair of schemas."""

    def __init__(self, native: NativeModule, plan: str, absent: Sequence[str]) -> None:
        self._decoder = native.Decoder(plan)
        self._absent = tuple(absent)

    def decode(
        self,
        values: list[bytes],
        keys: list[bytes | None],
        partitions: list[int],
        offsets: list[int],
    ) -> tuple[DecodedColumns, Sequence[int]]:
        """The accepted records in their order, and the indices of the refused."""
        columns, refused = self._decoder.decode(values, keys, partitions, offsets)
        return DecodedColumns(columns, self._absent), [index for index, _ in refused]
