"""The replica's own bookkeeping, in the same database and the same transactions as its rows.

``callsheet_offsets``: up to where each partition is in the tables, and who may write on.
``callsheet_owner``: which source and pipeline a table belongs to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from callsheet.batch import Offset, Partition
from sinks.sql.trouble import Fenced

PREFIX: Final = "callsheet_"
METADATA: Final = sa.MetaData()

OFFSETS: Final = sa.Table(
    "callsheet_offsets",
    METADATA,
    sa.Column("pipeline", sa.String(63), primary_key=True),
    sa.Column("topic", sa.String(249), primary_key=True),
    sa.Column("kafka_partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("next_offset", sa.BigInteger, comment="null: claimed, and nothing written yet"),
    sa.Column("generation", sa.BigInteger, nullable=False, comment="of the owner; fences others"),
    sa.Column("writes", sa.BigInteger, nullable=False, comment="transactions so far"),
    sa.Column("version", sa.BigInteger, comment="watermark: the highest version it brought"),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_0900_bin",
)

OWNER: Final = sa.Table(
    "callsheet_owner",
    METADATA,
    sa.Column("table_name", sa.String(64), primary_key=True),
    sa.Column("source", sa.String(249), nullable=False, comment="the connector's topic prefix"),
    sa.Column("source_table", sa.String(255), nullable=False, comment="database.table"),
    sa.Column("pipeline", sa.String(63), nullable=False),
    sa.Column("column_names", sa.Text, nullable=False, comment="of the last schema, one a line"),
    sa.Column("created_at", sa.DateTime, nullable=False, server_default=sa.func.now()),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_0900_bin",
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One row of ``callsheet_offsets`` while we hold its lock."""

    generation: int
    next_offset: Offset | None
    writes: int
    version: int | None


@dataclass(frozen=True, slots=True)
class Owner:
    source: str
    source_table: str
    pipeline: str


class Offsets:
    """Of one pipeline. Every method needs an open transaction."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline

    def hold(
        self,
        connection: sa.Connection,
        partitions: Collection[Partition],
        generations: Mapping[Partition, int],
    ) -> dict[Partition, Claim]:
        """Lock these rows until the transaction ends. What is not in ``generations`` becomes ours.

        Raises:
            Fenced: another owner has raised a generation since.
        """
        claims: dict[Partition, Claim] = {}
        fenced: list[Partition] = []
        rows = self._read(connection, sorted(partitions))
        for partition in sorted(partitions):
            found = rows.get(partition)
            ours = generations.get(partition)
            if ours is None:
                claims[partition] = self._claim(connection, partition, found)
            elif found is None or found.generation != ours:
                fenced.append(partition)
            else:
                claims[partition] = found
        if fenced:
            raise Fenced(fenced)
        return claims

    def advance(
        self,
        connection: sa.Connection,
        held: Mapping[Partition, Claim],
        ends: Mapping[Partition, Offset],
        versions: Mapping[Partition, int],
    ) -> None:
        for partition, end in ends.items():
            claim = held[partition]
            watermark = max(claim.version or 0, versions.get(partition, 0))
            connection.execute(
                sa.update(OFFSETS).where(*self._is(partition)),
                {"next_offset": end, "writes": claim.writes + 1, "version": watermark},
            )

    def ends(
        self, connection: sa.Connection, partitions: Collection[Partition]
    ) -> dict[Partition, Offset]:
        found = self._read(connection, sorted(partitions))
        return {p: c.next_offset for p, c in found.items() if c.next_offset is not None}

    def move(self, connection: sa.Connection, offsets: Mapping[Partition, Offset]) -> None:
        """Those that are there; the next generation, so that nobody goes on who was writing."""
        for partition, claim in self._read(connection, sorted(offsets)).items():
            connection.execute(
                sa.update(OFFSETS).where(*self._is(partition)),
                {"next_offset": offsets[partition], "generation": claim.generation + 1},
            )

    def _read(
        self, connection: sa.Connection, partitions: Sequence[Partition]
    ) -> dict[Partition, Claim]:
        """Locked in the order of the key, the same for everybody: nobody waits in a circle. By the
        whole key, because a scan would wait for the rows of other workers.
        """
        place = sa.tuple_(OFFSETS.c.pipeline, OFFSETS.c.topic, OFFSETS.c.kafka_partition)
        wanted = [(self._pipeline, each.topic, each.number) for each in partitions]
        query = (
            sa.select(OFFSETS)
            .with_hint(OFFSETS, "FORCE INDEX (PRIMARY)", "mysql")
            .where(place.in_(wanted))
            .order_by(OFFSETS.c.topic, OFFSETS.c.kafka_partition)
            .with_for_update()
        )
        return {
            Partition(row.topic, row.kafka_partition): Claim(
                row.generation, row.next_offset, row.writes, row.version
            )
            for row in connection.execute(query)
        }

    def _claim(self, connection: sa.Connection, partition: Partition, found: Claim | None) -> Claim:
        if found is None:
            # Two who insert at once: the second fails with a duplicate key, and tries again.
            connection.execute(
                sa.insert(OFFSETS),
                {
                    "pipeline": self._pipeline, "topic": partition.topic,
                    "kafka_partition": partition.number, "generation": 1, "writes": 0,
                },
            )  # fmt: skip
            return Claim(1, None, 0, None)
        generation = found.generation + 1
        connection.execute(
            sa.update(OFFSETS).where(*self._is(partition)), {"generation": generation}
        )
        return Claim(generation, found.next_offset, found.writes, found.version)

    def _is(self, partition: Partition) -> tuple[sa.ColumnElement[bool], ...]:
        return (
            OFFSETS.c.pipeline == self._pipeline,
            OFFSETS.c.topic == partition.topic,
            OFFSETS.c.kafka_partition == partition.number,
        )


def owner_of(connection: sa.Connection, table: str) -> tuple[Owner, frozenset[str]] | None:
    """Whose the table is, and the columns of the last schema it was made to fit."""
    row = connection.execute(sa.select(OWNER).where(OWNER.c.table_name == table)).one_or_none()
    if row is None:
        return None
    owner = Owner(row.source, row.source_table, row.pipeline)
    return owner, frozenset(filter(None, row.column_names.split("\n")))


def own(connection: sa.Connection, table: str, owner: Owner) -> None:
    """Two who do so at once: the second fails with a duplicate key."""
    connection.execute(
        sa.insert(OWNER),
        {
            "table_name": table, "source": owner.source, "source_table": owner.source_table,
            "pipeline": owner.pipeline, "column_names": "",
        },
    )  # fmt: skip


def note_columns(connection: sa.Connection, table: str, columns: Sequence[str]) -> None:
    connection.execute(
        sa.update(OWNER).where(OWNER.c.table_name == table), {"column_names": "\n".join(columns)}
    )
