"""What ``callsheet erase`` does in one pipeline: its destination, then its dead letters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from callsheet.app import (
    connection_of,
    decoder_of,
    transaction_of,
    transactional_producer,
)
from callsheet.batch import Offset
from callsheet.cli.dlq_workshop import letter_log
from callsheet.config.loading import Pipeline
from callsheet.errors import RetryableError, UnavailableError, UsageError
from callsheet.kafka.admin import KafkaTopics
from callsheet.kafka.groups import KafkaGroups
from callsheet.kafka.letters_erasure import LetterCopies, Sorted, rewrite, sort_out
from callsheet.kafka.letters_turn import RedriveTurn
from callsheet.kafka.newest import TopicPast
from callsheet.kafka.scan import TopicScan
from callsheet.ports import Deadline, SystemClock
from callsheet.schema import TableSchema
from callsheet.sink import Eraser, Holding, SinkContext

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Wish:
    """Whose data goes. ``with_doubtful``: also letters of the table that nobody can read, settled
    ones too.
    """

    table: str
    identifiers: tuple[str, ...]
    with_doubtful: bool = False
    is_dry: bool = False


@dataclass(slots=True)
class Erasure:
    """What one pipeline had, and has now."""

    pipeline: str
    sink: str
    topic: str
    can_erase: bool
    """False: of this destination only retention takes anything."""
    before: dict[str, Holding] = field(default_factory=dict)
    after: dict[str, Holding] = field(default_factory=dict)
    letters: Sorted | None = None
    """None: it has no dead letters."""
    letters_left: int = 0
    """Of the row, or perhaps."""
    unread: int | None = 0
    """Records of the table that the pipeline has not read; None: unknown."""

    @property
    def is_complete(self) -> bool:
        """Is there nothing left that this command could reach, and nothing to come?"""
        has_values = any(each.has_values for each in self.after.values())
        return not has_values and not self.letters_left and self.unread == 0


def erase(pipeline: Pipeline, wish: Wish, log: FilteringBoundLogger) -> Erasure | None:
    """None where the pipeline has nothing to do with the table.

    Raises:
        UsageError: the table's name means several topics, or is none of Debezium's; or a redrive,
            a discard or another erase of the pipeline runs.
        UnavailableError: a server is away.
        FencedError: the turn was lost meanwhile; no letter is deleted.
        PreconditionError: a redrive has not ended, or a table is not the pipeline's.
    """
    topic = _topic(pipeline, wish.table)
    if topic is None:
        return None
    try:
        return _erased(pipeline, wish, topic, log)
    except RetryableError as error:
        hint = error.hint or "run the command again: what is erased stays erased"
        raise UnavailableError(error.message, hint=hint) from error


def _erased(pipeline: Pipeline, wish: Wish, topic: str, log: FilteringBoundLogger) -> Erasure:
    with _opened(pipeline, log) as opened:
        found = Erasure(pipeline.name, pipeline.plugin.name, topic, opened is not None)
        if opened is not None:
            _from_destination(opened, wish, topic, found)
    _from_letters(pipeline, wish, topic, found)
    groups = KafkaGroups(connection_of(pipeline.settings))
    offsets = groups.offsets(pipeline.settings.group_id, groups.partitions([topic]))
    lags = [each.lag for each in offsets]
    found.unread = None if None in lags else sum(lag or 0 for lag in lags)
    return found


# --- the destination ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Opened:
    eraser: Eraser
    settle: Callable[[], bool]
    """Make it last; False: it was taken back, and may be tried again."""


@contextmanager
def _opened(pipeline: Pipeline, log: FilteringBoundLogger) -> Iterator[_Opened | None]:
    settings, clock = pipeline.settings, SystemClock()
    connection = connection_of(settings)
    scan = TopicScan(connection, KafkaGroups(connection), clock)
    make = pipeline.plugin.eraser
    if make is None:
        yield None
        return
    context = SinkContext(pipeline.name, clock, config_dir=str(pipeline.config_dir))
    if not pipeline.plugin.is_transactional:
        eraser = make(pipeline.sink, context, scan.topic)
        try:
            yield None if eraser is None else _Opened(eraser, lambda: True)
        finally:
            if eraser is not None:
                eraser.close()
        return
    producer = transactional_producer(settings, "erase", log)
    past = TopicPast(connection, producer)

    def settle() -> bool:
        deadline = Deadline.after(clock, settings.dead_letters.budget_seconds)
        is_done = producer.commit({}, None, deadline)
        if not is_done:
            producer.start_over()
        return is_done

    try:
        transaction = transaction_of(settings, producer, past)
        context = SinkContext(
            pipeline.name, clock, config_dir=str(pipeline.config_dir), transaction=transaction
        )
        eraser = make(pipeline.sink, context, scan.topic)
        yield None if eraser is None else _Opened(eraser, settle)
    finally:
        past.close()
        producer.close()


def _from_destination(opened: _Opened, wish: Wish, topic: str, found: Erasure) -> None:
    schema, eraser = schema_of(topic), opened.eraser
    found.before = dict(eraser.look(topic, schema, wish.identifiers))
    there = [each for each, holding in found.before.items() if holding.has_values]
    if there and not wish.is_dry:
        _insist(opened, topic, schema, there)
    found.after = dict(eraser.look(topic, schema, wish.identifiers))


def _insist(opened: _Opened, topic: str, schema: TableSchema, identifiers: Collection[str]) -> None:
    """A worker may write the same rows meanwhile."""
    for _ in range(_TRIES):
        opened.eraser.erase(topic, schema, identifiers)
        if opened.settle():
            return
    raise UnavailableError(
        "the rows are written again and again meanwhile",
        hint="are they deleted at the source? Then run the command again",
    )


def schema_of(topic: str) -> TableSchema:
    """All that a topic's name says of its table."""
    parts = topic.split(".")
    if len(parts) < 3:
        raise UsageError(
            f"{topic} is not named source.database.table",
            hint="topics that were renamed on their way do not tell their table",
        )
    return TableSchema(".".join(parts[:-2]), parts[-2], parts[-1], (), (), "")


def _topic(pipeline: Pipeline, table: str) -> str | None:
    settings = pipeline.settings
    partitions = KafkaGroups(connection_of(settings)).partitions(settings.source.subscription())
    return chosen({each.topic for each in partitions}, table)


def chosen(topics: Collection[str], table: str) -> str | None:
    """Of these topics that of the table, which is named in full or without its source."""
    found = sorted(each for each in topics if each == table or each.endswith(f".{table}"))
    if len(found) > 1:
        raise UsageError(f"--table {table} means {', '.join(found)}", hint="name one of them")
    return found[0] if found else None


# --- dead letters -------------------------------------------------------------------------------


def _from_letters(pipeline: Pipeline, wish: Wish, topic: str, found: Erasure) -> None:
    settings = pipeline.settings
    log = letter_log(settings)
    if not log.exists():
        return
    connection, letters = connection_of(settings), settings.dead_letters
    with RedriveTurn(connection, settings.group_id, log.topic) as turn:
        plan = sort_out(log, decoder_of(pipeline), topic, wish.identifiers)
        found.letters, found.letters_left = plan, len(plan.erased) + len(plan.doubtful)
        if wish.is_dry or not (plan.erased or (wish.with_doubtful and plan.doubtful)):
            return
        copies = LetterCopies(
            connection,
            log.topic,
            max_message_bytes=letters.max_message_bytes,
            budget_s=letters.budget_seconds,
        )
        topics = KafkaTopics(connection.common())

        def delete_before(end: Offset) -> None:
            turn.keep()
            topics.delete_before(log.topic, 0, end)

        stays = plan.stays(with_doubtful=wish.with_doubtful)
        turn.keep()  # to read all may have taken longer than the group waits
        rewrite(log, copies, delete_before, plan.end, stays)
        found.letters_left = len(stays - plan.kept)


def gone(found: Sequence[Erasure]) -> bool:
    return all(each.is_complete for each in found)
