"""Many small Parquet files of one lane and one schema into few, row by row the same.

Files of different schemas are never merged: a row must stay under the schema that it was written
under, or a column that it did not have would turn into one that was null.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import IO, BinaryIO, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from callsheet.errors import FatalError
from sinks.hive.archive import content_of, readable
from sinks.hive.entries import Piece
from sinks.hive.layout import MANY_VALUED
from sinks.hive.schemas import StoredSchema
from sinks.hive.spool import SpoolOptions, disk_error, parquet_writer
from sinks.hive.stores.port import Store


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files that become one: of one lane and one schema, in the order of their offsets."""

    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        return sum(piece.file.rows for piece in self.pieces)


def bundles(pieces: Sequence[Piece], target_bytes: int) -> list[Bundle]:
    """All files of a partition, none left out: a bundle is full when it has reached its target, so
    that a file of about that size stays by itself.
    """
    groups: dict[tuple[str, str], list[Piece]] = {}
    for piece in sorted(pieces, key=lambda each: (each.lane, each.first)):
        groups.setdefault((piece.lane, piece.file.fingerprint), []).append(piece)
    return [Bundle(tuple(some)) for group in groups.values() for some in _cut(group, target_bytes)]


def _cut(pieces: Sequence[Piece], target_bytes: int) -> Iterator[list[Piece]]:
    bundle: list[Piece] = []
    size = 0
    for piece in pieces:
        if bundle and (size >= target_bytes or piece.file.size_bytes >= target_bytes):
            yield bundle
            bundle, size = [], 0
        bundle.append(piece)
        size += piece.file.size_bytes
    yield bundle


def merge(store: Store, bundle: Bundle, schema: StoredSchema, options: SpoolOptions) -> BinaryIO:
    """One file without a name, of all rows; a single file as it is. Takes memory for one of the
    files at a time.

    Raises:
        LostFileError: one is nowhere.
        FatalError: one is damaged (nobody is to find that out when the original is gone), or the
            disk for temporary files is full.
    """
    if len(bundle.pieces) == 1:
        content = content_of(store, bundle.pieces[0].file)
        _opened(bundle.pieces[0], content)
        return BytesIO(content)
    target = tempfile.TemporaryFile(dir=options.folder, prefix="callsheet-")  # noqa: SIM115
    try:
        _write(store, bundle, _many_valued(schema), options, target)
    except OSError as error:
        target.close()
        raise disk_error(error) from error
    except BaseException:
        target.close()
        raise
    return cast("BinaryIO", target)


def _many_valued(schema: StoredSchema) -> set[str]:
    keys = {each.name for each in schema.columns if each.source and each.source in schema.key}
    return {*MANY_VALUED, *keys}


def _write(
    store: Store, bundle: Bundle, many_valued: set[str], options: SpoolOptions, target: IO[bytes]
) -> None:
    first = _rows(store, bundle.pieces[0])
    arrow = first.schema
    with parquet_writer(target, arrow, many_valued, options.compression) as writer:
        waiting = [first]
        for piece in bundle.pieces[1:]:
            if sum(each.num_rows for each in waiting) >= options.row_group_rows:
                writer.write_table(pa.concat_tables(waiting), row_group_size=options.row_group_rows)
                waiting.clear()
            waiting.append(_rows(store, piece).cast(arrow))
        writer.write_table(pa.concat_tables(waiting), row_group_size=options.row_group_rows)


def _rows(store: Store, piece: Piece) -> pa.Table:
    """
    Raises:
        FatalError: it is damaged.
    """
    file = _opened(piece, content_of(store, piece.file))
    with readable(piece.file.path):
        return file.read()


def _opened(piece: Piece, content: bytes) -> pq.ParquetFile:
    """
    Raises:
        FatalError: it does not hold what the log says.
    """
    try:
        found = pq.ParquetFile(BytesIO(content))
        offsets = pl.Series(found.read(["kafka_offset"])["kafka_offset"], dtype=pl.Int64)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _damaged(piece, "it cannot be read") from error
    if offsets.len() != piece.file.rows:
        raise _damaged(piece, f"it has {offsets.len()} rows, the log says {piece.file.rows}")
    is_of_range = offsets.is_between(piece.first, piece.end, closed="left").all()
    if not is_of_range or offsets.is_duplicated().any():
        raise _damaged(piece, "its rows are not those of its range")
    return found


def _damaged(piece: Piece, what: str) -> FatalError:
    return FatalError(
        f"{piece.file.path} is not merged: {what}",
        hint="`callsheet audit check` names all such files; restore them from a backup",
    )
