"""Rows on their way: collected per date and schema, written as Parquet into files without a name,
until their range is full.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from callsheet.batch import Offset
from callsheet.errors import FatalError
from sinks.hive.layout import PARTITION_COLUMN, TableLayout
from sinks.hive.settings import RotationSettings

ZSTD_LEVEL: Final = 1
_HIVE_METADATA: Final = {"writer.date.proleptic": "true"}
"""Hive takes days before 1582-10-15 in files of others for Julian ones, unless they say this."""


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    folder: Path | None
    """Where the files without a name are; None: where the system keeps temporary ones."""
    compression: str
    row_group_rows: int


@dataclass(slots=True)
class Pile:
    """Rows of one date under one layout: some in the file, the newest still in memory."""

    table: str
    date: str
    layout: TableLayout
    options: SpoolOptions
    rows: int = 0
    waiting_rows: int = 0
    waiting_bytes: int = 0
    _waiting: list[pa.Table] = field(default_factory=list)
    _file: IO[bytes] | None = None
    _writer: pq.ParquetWriter | None = None

    def add(self, frame: pl.DataFrame) -> None:
        """
        Raises:
            FatalError: the disk with the temporary files is full. What the pile had is lost to
                us, so the worker must stop and read it again.
        """
        # At once: a frame's texts are views into the whole batch, which would stay with them.
        table = frame.to_arrow().cast(self.layout.arrow)
        self._waiting.append(table)
        self.rows += frame.height
        self.waiting_rows += frame.height
        self.waiting_bytes += table.nbytes
        if self.waiting_rows >= self.options.row_group_rows:
            self.press()

    def press(self) -> None:
        """Write what waits in memory as one row group."""
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        self._waiting.clear()
        self.waiting_rows = self.waiting_bytes = 0
        try:
            self._open().write_table(table, row_group_size=self.options.row_group_rows)
        except OSError as error:
            raise disk_error(error) from error

    def finish(self) -> BinaryIO:
        """The whole file, to be read from its beginning; the pile is done with."""
        self.press()
        try:
            self._open().close()
        except OSError as error:
            raise disk_error(error) from error
        return cast("BinaryIO", self._file)

    def discard(self) -> None:
        if self._writer is not None and self._file is not None:
            with suppress(OSError):  # a full disk: the file is thrown away anyway
                self._writer.close()
            self._file.close()

    def _open(self) -> pq.ParquetWriter:
        if self._writer is None:
            folder = self.options.folder
            # No name: the kernel removes it with the process, however that ends.
            self._file = tempfile.TemporaryFile(dir=folder, prefix="callsheet-")  # noqa: SIM115
            self._writer = parquet_writer(
                self._file, self.layout.arrow, self.layout.many_valued, self.options.compression
            )
        return self._writer


def parquet_writer(
    file: IO[bytes], arrow: pa.Schema, many_valued: Collection[str], compression: str
) -> pq.ParquetWriter:
    """As all files of the audit are written, so that Hive reads each alike."""
    writer = pq.ParquetWriter(
        pa.PythonFile(file, "w"),
        arrow,
        compression=compression,
        compression_level=ZSTD_LEVEL if compression == "zstd" else None,
        use_dictionary=[name for name in arrow.names if name not in many_valued],
        store_schema=False,  # our Arrow types are nobody else's business
        write_page_index=False,
    )
    writer.add_key_value_metadata(_HIVE_METADATA)
    return writer


class OpenRange:
    """What a lane has accepted since its last range: [first, end)."""

    def __init__(self, start: Offset, opened_s: float, options: SpoolOptions) -> None:
        self.start = self.end = start
        self.opened_s = opened_s
        self.rows = self.refused = self.size_bytes = 0
        self._piles: dict[tuple[str, str], Pile] = {}
        self._options = options

    def add(self, table: str, layout: TableLayout, date: str, frame: pl.DataFrame) -> None:
        key = date, layout.schema.fingerprint
        pile = self._piles.get(key)
        if pile is None:
            pile = self._piles[key] = Pile(table, date, layout, self._options)
        pile.add(frame.drop(PARTITION_COLUMN))
        self.rows += frame.height

    @property
    def piles(self) -> Iterator[Pile]:
        """By date, then in the order of their schemas' first rows."""
        order = sorted(enumerate(self._piles), key=lambda each: (each[1][0], each[0]))
        return (self._piles[key] for _, key in order)

    @property
    def waiting_bytes(self) -> int:
        return sum(pile.waiting_bytes for pile in self._piles.values())

    @property
    def files(self) -> int:
        return len(self._piles)

    def press(self) -> None:
        for pile in self._piles.values():
            pile.press()

    def is_due(self, limits: RotationSettings, now_s: float) -> bool:
        covered = self.rows + self.refused
        is_full = covered >= limits.rows or self.size_bytes >= limits.bytes
        return is_full or now_s >= self.opened_s + limits.seconds

    def discard(self) -> None:
        """Give the disk's space back."""
        for pile in self._piles.values():
            pile.discard()


def disk_error(error: OSError) -> FatalError:
    return FatalError(
        f"the audit's temporary file cannot be written: {error.strerror or error}",
        hint="make room, or set sink.spool_dir to a folder on a larger disk; nothing is lost, the "
        "records are read again",
    )
