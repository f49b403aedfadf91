"""A redrive's parts, from a pipeline file's settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from structlog.typing import FilteringBoundLogger

from callsheet import __version__
from callsheet.app import connection_of, decoder_of, ensure_dead_letter_topic, limits_of, sink_of
from callsheet.cli.dlq_redrive import Outcome, Redrive, Wish, Workshop
from callsheet.config.loading import Pipeline
from callsheet.config.models import PipelineSettings
from callsheet.errors import PreconditionError
from callsheet.kafka.dead_letters import KafkaDeadLetters
from callsheet.kafka.letters_log import KafkaMarks, LetterLog
from callsheet.kafka.letters_turn import RedriveTurn
from callsheet.ports import SystemClock

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
    UsageError: another redrive of the pipeline runs.
    PreconditionError: this kind of sink cannot redrive.
    """
    settings = pipeline.settings
    if pipeline.plugin.is_transactional:
        raise PreconditionError(
            f"a {pipeline.plugin.name} sink cannot redrive: its letters travel in transactions",
            hint="reset the group to before the record, once the cause is mended: "
            "`callsheet offsets reset`",
        )
    source = letter_log(settings)
    if not source.exists():
        return Outcome()
    ensure_dead_letter_topic(settings)
    shop = workshop(pipeline, source, operator)
    with RedriveTurn(connection_of(settings), settings.group_id, source.topic) as turn:
        job = Redrive(shop, turn, operator.name, operator.patience_s)
        operator.started(job)
        return job.run(wish)


def workshop(pipeline: Pipeline, source: LetterLog, operator: Operator) -> Workshop:
    settings = pipeline.settings
    letters = KafkaDeadLetters(
        connection_of(settings),
        settings.dead_letter_topic,
        pipeline=settings.name,
        version=__version__,
        max_message_bytes=settings.dead_letters.max_message_bytes,
        budget_s=settings.dead_letters.budget_seconds,
        log=operator.log,
    )
    limits = replace(
        limits_of(settings),
        commit_interval_s=0.2,
        status_interval_s=0.1,
        # All that the destination accepted is waited for at the end.
        stop_budget_s=operator.patience_s,
    )
    return Workshop(
        log=source,
        marks=marks_of(settings),
        letters=letters,
        decoder=decoder_of(pipeline),
        sink=lambda: sink_of(pipeline, REDRIVE_WORKER),
        limits=limits,
        truncate=settings.truncate,
        logger=operator.log,
        clock=SystemClock(),
    )
