"""``callsheet run --dry-run``: the first documents as they would be written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callsheet.cli import console
from callsheet.errors import UnavailableError

if TYPE_CHECKING:
    from callsheet.batch import Batch, Decoded
    from callsheet.config.loading import Pipeline
    from callsheet.sink import Sink

_PATIENCE_S = 20.0


def show(file: Path, limit: int) -> None:
    """Print up to ``limit`` lines of JSON, from where the group stands or, where it has read all,
    from the beginning; write and commit nothing.
    """
    from callsheet.app import sink_of
    from callsheet.config.loading import load
    from sinks import plugin

    pipeline = load(file, os.environ, plugin)
    sink = sink_of(pipeline, 0)
    lines = list(islice(_lines(pipeline, sink, is_replay=False), limit))
    if not lines:
        console.stderr().print("The group has read all there is; shown from the logs' beginning.")
        lines = list(islice(_lines(pipeline, sink, is_replay=True), limit))
    sys.stdout.writelines(line + "\n" for line in lines)


def _lines(pipeline: Pipeline, sink: Sink, *, is_replay: bool) -> Iterator[str]:
    for decoded in _decoded(pipeline, is_replay=is_replay):
        for batch in decoded.batches:
            yield from _preview(sink, batch)
        yield from map(_text, _troubles(decoded))


def _decoded(pipeline: Pipeline, *, is_replay: bool) -> Iterator[Decoded]:
    from callsheet.app import connection_of, decoder_of
    from callsheet.kafka.groups import KafkaGroups
    from callsheet.kafka.peek import Peek
    from callsheet.ports import Deadline, SystemClock

    settings = pipeline.settings
    connection, decoder = connection_of(settings), decoder_of(pipeline)
    groups = KafkaGroups(connection)
    partitions = groups.partitions(settings.source.subscription())
    if not partitions:
        raise UnavailableError(
            "none of the pipeline's topics exists yet",
            hint="does capture run? `callsheet connectors status`",
        )
    committed = {} if is_replay else groups.committed(settings.group_id, partitions)
    deadline = Deadline.after(SystemClock(), _PATIENCE_S)
    with Peek(connection, {p: committed.get(p) for p in partitions}) as peek:
        while not peek.is_at_end and not deadline.expired():
            if messages := peek.poll(100, 0.2):
                yield decoder.decode(messages)


def _preview(sink: Sink, batch: Batch) -> Iterator[str]:
    """As the sink would write it; as the event is, where the sink cannot show that."""
    from callsheet.sink import Previewing

    if isinstance(sink, Previewing):
        yield from (line.decode() for line in sink.preview(batch))
    else:
        for row in batch.frame.iter_rows(named=True):
            yield _text({"topic": batch.topic, **row})


def _troubles(decoded: Decoded) -> Iterator[dict[str, Any]]:
    for poison in decoded.poison:
        message = poison.message
        place = {"topic": message.topic(), "partition": message.partition()}
        why = {"offset": message.offset(), "reason": poison.reason, "detail": poison.detail}
        yield {"dead_letter": {**place, **why}}
    for park in decoded.parked:
        yield {"parked": {"topic": park.topic, "reason": park.reason, "detail": park.detail}}
    for truncation in decoded.truncations:
        yield {"truncated": {"table": truncation.table}}


def _text(data: dict[str, Any]) -> str:
    import orjson

    return orjson.dumps(data, default=str).decode()
