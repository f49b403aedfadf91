"""A redrive's parts, from a pipeline file's settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from structlog.typing import FilteringBoundLogger

from callsheet.app import (
    connection_of,
    decoder_of,
    ensure_dead_letter_topic,
    limits_of,
    plain_letters,
    sink_of,
    transaction_of,
    transactional_letters,
    transactional_producer,
)
from callsheet.cli.dlq_redrive import Outcome, Redrive, Wish, Workshop
from callsheet.config.loading import Pipeline
from callsheet.config.models import PipelineSettings
from callsheet.kafka.groups import KafkaGroups
from callsheet.kafka.letters_log import KafkaMarks, LetterLog
from callsheet.kafka.letters_redrive import Letters, MarkStore
from callsheet.kafka.letters_transaction import DecidedLetters, TopicEnds, TransactionalMarks
from callsheet.kafka.letters_turn import RedriveTurn
from callsheet.kafka.newest import TopicPast
from callsheet.kafka.producer import TransactionalProducer
from callsheet.ports import DeadLetters, SystemClock
from callsheet.sink import Sink

REDRIVE_WORKER = 64
"""As the sink's number: no worker of `callsheet run` has it."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who redrives, how long they wait for a destination, and who is told how to stop it."""

    name: str
    patience_s: float
    log: FilteringBoundLogger
    started: Callable[[Redrive], None] = lambda _: None


def letter_log(settings: PipelineSettings) -> LetterLog:
    return LetterLog(connection_of(settings), settings.dead_letter_topic, SystemClock())


def marks_of(settings: PipelineSettings) -> KafkaMarks:
    letters = settings.dead_letters
    return KafkaMarks(
        connection_of(settings),
        settings.dead_letter_topic,
        max_message_bytes=letters.max_message_bytes,
        budget_s=letters.budget_seconds,
    )


def redrive(pipeline: Pipeline, wish: Wish, operator: Operator) -> Outcome:
    """Raises:
    UsageError: another redrive, discard or erase of the pipeline runs.
    """
    settings = pipeline.settings
    source = letter_log(settings)
    if not source.exists():
        return Outcome()
    ensure_dead_letter_topic(settings)
    with (
        RedriveTurn(connection_of(settings), settings.group_id, source.topic) as turn,
        bench_of(pipeline, source, operator) as bench,
    ):
        shop = workshop(pipeline, bench, operator)
        job = Redrive(shop, turn, operator.name, operator.patience_s)
        operator.started(job)
        return job.run(wish)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a redrive reads, writes and notes: three, or three views of one transaction."""

    log: Letters
    marks: MarkStore
    letters: DeadLetters
    sink: Callable[[], Sink]


@contextmanager
def bench_of(pipeline: Pipeline, source: LetterLog, operator: Operator) -> Iterator[Bench]:
    """Made for one redrive."""
    settings = pipeline.settings
    if not pipeline.plugin.is_transactional:
        letters = plain_letters(settings, operator.log)
        yield Bench(source, marks_of(settings), letters, lambda: sink_of(pipeline, REDRIVE_WORKER))
        return
    producer = transactional_producer(settings, "redrive", operator.log)
    past = TopicPast(connection_of(settings), producer)
    try:
        yield _transactional(pipeline, source, producer, past, operator.log)
    finally:
        past.close()
        producer.close()


def _transactional(
    pipeline: Pipeline,
    source: LetterLog,
    producer: TransactionalProducer,
    past: TopicPast,
    log: FilteringBoundLogger,
) -> Bench:
    settings, clock = pipeline.settings, SystemClock()
    transaction = transaction_of(settings, producer, past)

    def sink() -> Sink:
        producer.start_over()  # what a run has left open is not the next one's to commit
        return sink_of(pipeline, REDRIVE_WORKER, transaction)

    budget_s = settings.dead_letters.budget_seconds
    begins = marks_of(settings)
    ends = TopicEnds(KafkaGroups(connection_of(settings)), source.topic)
    return Bench(
        DecidedLetters(source, ends, producer, clock),
        TransactionalMarks(producer, source.topic, begins, budget_s=budget_s, clock=clock),
        transactional_letters(settings, producer, log),
        sink,
    )


def workshop(pipeline: Pipeline, bench: Bench, operator: Operator) -> Workshop:
    settings = pipeline.settings
    limits = replace(
        limits_of(settings),
        commit_interval_s=0.2,
        status_interval_s=0.1,
        # All that the destination accepted is waited for at the end.
        stop_budget_s=operator.patience_s,
    )
    return Workshop(
        log=bench.log,
        marks=bench.marks,
        letters=bench.letters,
        decoder=decoder_of(pipeline),
        sink=bench.sink,
        limits=limits,
        truncate=settings.truncate,
        logger=operator.log,
        clock=SystemClock(),
    )
