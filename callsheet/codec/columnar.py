"""The columnar path: a group of records at once, through the native decoder."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import polars as pl

from callsheet.batch import FRAME_SCHEMA
from callsheet.codec.plan import PLAN_VERSION


class NativeDecoder(Protocol):
    """One table's decoder. Keeps its memory between calls; each call stands for itself."""

    def decode(
        self,
        values: list[bytes],
        keys: list[bytes | None],
        partitions: list[int],
        offsets: list[int],
    ) -> tuple[Any, list[tuple[int, str]]]:
        """Arrow columns of the accepted records in order, and (index, why) of the refused."""
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
    ) -> tuple[pl.DataFrame, Sequence[int]]:
        """The frame of the accepted records in their order, and the indices of the refused."""
        columns, refused = self._decoder.decode(values, keys, partitions, offsets)
        frame = pl.Series(columns).struct.unnest()
        if self._absent:
            nulls = [pl.lit(None, FRAME_SCHEMA[name]).alias(name) for name in self._absent]
            frame = frame.with_columns(nulls).select(*FRAME_SCHEMA, "before", "after")
        return frame, [index for index, _ in refused]
