"""A log of changes to one table, and what the table must hold after any part of it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from random import Random

from callsheet.batch import Batch, Partition
from callsheet.event import Op
from callsheet.ports import Deadline, SystemClock
from callsheet.schema import TableSchema
from callsheet.sink import SinkContext
from sinks.sql.settings import SqlSettings
from sinks.sql.sink import SqlSink
from sinks.sql.store import Step
from tests.support.batches import Row, a_batch, a_schema

PARTITIONS = 2


def a_log(length: int, seed: int = 7, ids: int = 12) -> list[Row]:
    """Creations, updates, deletions and new creations; each ID in one partition."""
    random = Random(seed)
    alive: set[int] = set()
    following = [0] * PARTITIONS
    log = []
    for version in range(1, length + 1):
        identifier = random.randrange(ids)
        number = identifier % PARTITIONS
        op = Op.CREATE if identifier not in alive else random.choice([Op.UPDATE, Op.DELETE])
        alive ^= {identifier} if op is not Op.UPDATE else set()
        after = None if op is Op.DELETE else {"id": identifier, "name": f"v{version}"}
        log.append(Row(op, str(identifier), after, version, number, following[number]))
        following[number] += 1
    return log


def state_after(log: Sequence[Row], ends: Mapping[int, int]) -> dict[str, str]:
    """ID to name when each partition was read up to its end."""
    rows: dict[str, str] = {}
    for row in log:
        if (row.offset or 0) < ends.get(row.partition, 0):
            rows.pop(row.id, None)
            if row.after is not None:
                rows[row.id] = row.after["name"]
    return rows


def batches(
    log: Sequence[Row], starts: Mapping[int, int], size: int, schema: TableSchema
) -> list[Batch]:
    """What a worker reads that starts there."""
    rest = [row for row in log if (row.offset or 0) >= starts.get(row.partition, 0)]
    return [a_batch(rest[at : at + size], schema) for at in range(0, len(rest), size)]


def partitions(schema: TableSchema) -> list[Partition]:
    return [Partition(f"studio.finance.{schema.table}", n) for n in range(PARTITIONS)]


def main(step: str, number: int, length: int) -> None:
    """A process that writes the log and dies (-9) when it comes to ``step`` for the n-th time."""
    seen = 0

    def at(reached: Step) -> None:
        nonlocal seen
        if reached == step:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    settings = SqlSettings.model_validate_json(sys.stdin.read())
    clock, schema = SystemClock(), a_schema()
    sink = SqlSink(settings, SinkContext("test", clock), at)
    sink.open()
    found = sink.assigned(partitions(schema))
    starts = {partition.number: offset for partition, offset in found.items()}
    for batch in batches(a_log(length), starts, 25, schema):
        sink.write(batch, Deadline.after(clock, 30))
        sink.flush(Deadline.after(clock, 30))
    sink.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
