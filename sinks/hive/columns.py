"""A batch to the columns of its Hive table: no row becomes a Python object, but for its UUID."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import polars as pl

from callsheet.batch import Batch, Partition
from callsheet.errors import Reason
from callsheet.schema import Kind
from callsheet.sink import Rejection
from sinks.hive.layout import IMAGES, PARTITION_COLUMN, TableLayout

EARLIEST_US: Final = -62_135_596_800_000_000
LATEST_US: Final = 253_402_300_799_999_999
"""The years 1 to 9999: what a Hive date can name."""

_TEXT = pl.String()


@dataclass(frozen=True, slots=True)
class Columns:
    """``frame``: the layout's columns and ``event_date``, one row per event that was not refused,
    in the batch's order.
    """

    frame: pl.DataFrame
    refused: Sequence[Rejection] = ()


class Renderer:
    """The expressions of one layout; made once, used for every batch."""

    def __init__(self, layout: TableLayout) -> None:
        self._source = layout.schema.source
        self._images = [
            image.form.express(pl.col(kind).struct.field(image.source.name)).alias(
                f"{kind}_{image.name}"
            )
            for kind in IMAGES
            for image in layout.images
        ]
        # These are parsed, so a text that does not parse must not pass for a null.
        self._parsed = [
            (kind, image.source.name, f"{kind}_{image.name}")
            for kind in IMAGES
            for image in layout.images
            if image.source.kind is Kind.TIMESTAMP
        ]
        stored = {name for _, _, name in self._parsed}
        self._parsing = [image for image in self._images if image.meta.output_name() in stored]

    def render(self, batch: Batch) -> Columns:
        frame, refused = self._timely(batch)
        rendered = self._rendered(frame, batch.topic)
        return Columns(self._sound(frame, rendered, batch.topic, refused), refused)

    def refused(self, batch: Batch) -> Sequence[Rejection]:
        """What :meth:`render` would refuse, and nothing else of it."""
        frame, refused = self._timely(batch)
        if self._parsing and not frame.is_empty():
            self._sound(frame, frame.select(self._parsing), batch.topic, refused)
        return refused

    def _timely(self, batch: Batch) -> tuple[pl.DataFrame, list[Rejection]]:
        frame, refused = batch.frame, list[Rejection]()
        bad = _timeless(frame)
        return self._without(frame, bad, "the commit time", batch.topic, refused), refused

    def _sound(
        self, frame: pl.DataFrame, rendered: pl.DataFrame, topic: str, refused: list[Rejection]
    ) -> pl.DataFrame:
        """``rendered`` without the rows one of whose texts does not parse."""
        for kind, name, stored in self._parsed:
            text = frame.get_column(kind).struct.field(name)
            bad = rendered.get_column(stored).is_null() & text.is_not_null()
            if bad.any():
                frame = self._without(frame, bad, f"column {name!r}", topic, refused)
                rendered = rendered.filter(~bad)
        return rendered

    def _rendered(self, frame: pl.DataFrame, topic: str) -> pl.DataFrame:
        ts = pl.col("ts_us").cast(pl.Datetime("us"))
        return frame.select(
            uuids(frame, self._source, topic),
            pl.col("op").alias("type"),
            "id",
            ts.alias("ts"),
            "transaction_id",
            "transaction_order",
            pl.lit(self._source).alias("source"),
            pl.col("file").alias("source_file"),
            pl.col("pos").alias("source_pos"),
            pl.col("row").alias("source_row"),
            "server_id",
            "gtid",
            "version",
            pl.col("snapshot").alias("is_snapshot"),
            pl.lit(topic).alias("kafka_topic"),
            pl.col("partition").alias("kafka_partition"),
            pl.col("offset").alias("kafka_offset"),
            *self._images,
            ts.dt.date().alias(PARTITION_COLUMN),
        )

    @staticmethod
    def _without(
        frame: pl.DataFrame, bad: pl.Series, what: str, topic: str, refused: list[Rejection]
    ) -> pl.DataFrame:
        if not bad.any():
            return frame
        detail = f"{what} is no instant of the years 1 to 9999"
        for number, offset in frame.filter(bad).select("partition", "offset").iter_rows():
            partition = Partition(topic, number)
            refused.append(Rejection(partition, offset, Reason.UNREPRESENTABLE, detail))
        return frame.filter(~bad)


def _timeless(frame: pl.DataFrame) -> pl.Series:
    return ~frame.get_column("ts_us").is_between(EARLIEST_US, LATEST_US)


# --- UUID -----------------------------------------------------------------------------------------
# The same as callsheet.codec.events.uuids, which is the oracle; a test holds the two together.

_NUL = pl.lit("\0")
_VARIANTS: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


def uuids(frame: pl.DataFrame, source: str, topic: str) -> pl.Series:
    """Each row's UUID as text: identities in columns, one hash call a row."""
    identities = frame.select(_identity(frame, source, topic).cast(pl.Binary)).to_series()
    digests = [blake2b(identity, digest_size=16).digest() for identity in identities.to_list()]
    text = pl.Series("uuid", digests, pl.Binary).bin.encode("hex")
    digits = pl.col("uuid").str
    variant = digits.slice(16, 1).replace_strict(_VARIANTS, return_dtype=pl.String)
    dash = pl.lit("-")
    pieces = [digits.slice(0, 8), dash, digits.slice(8, 4), pl.lit("-8"), digits.slice(13, 3)]
    pieces += [dash, variant, digits.slice(17, 3), dash, digits.slice(20, 12)]
    return text.to_frame().select(pl.concat_str(pieces).alias("uuid")).to_series()


def _identity(frame: pl.DataFrame, source: str, topic: str) -> pl.Expr:
    def text(name: str) -> pl.Expr:
        return pl.col(name).cast(_TEXT).fill_null("None")

    gtid = pl.col("gtid")
    server = pl.when(gtid.is_null() | (gtid == "")).then(text("file")).otherwise(gtid)
    streamed = pl.concat_str(
        [pl.lit(f"s\0{source}\0"), server, _NUL, text("pos"), _NUL, text("row"), _NUL, text("op")]
    )
    snapshot = pl.concat_str(
        [pl.lit(f"r\0{topic}\0"), text("id"), _NUL, text("file"), _NUL, text("pos")]
    )
    if not frame.get_column("snapshot").any():
        return streamed
    return pl.when(pl.col("snapshot")).then(snapshot).otherwise(streamed)
