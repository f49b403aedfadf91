"""What `callsheet dlq discard` does: it notes that letters will never be delivered."""

from __future__ import annotations

from dataclasses import dataclass

from callsheet.app import connection_of
from callsheet.batch import Offset
from callsheet.cli.dlq_redrive import now_text
from callsheet.cli.dlq_workshop import letter_log, marks_of
from callsheet.config.models import PipelineSettings
from callsheet.kafka.letters import Choice, Deed, Mark
from callsheet.kafka.letters_redrive import RUN_LETTERS, Letters, Turn
from callsheet.kafka.letters_turn import RedriveTurn
from callsheet.ports import Deadline, SystemClock


@dataclass(frozen=True, slots=True)
class Decision:
    """Which letters, who gives them up, and why."""

    choice: Choice
    by: str
    why: str


def discard(settings: PipelineSettings, decision: Decision, *, is_dry: bool) -> list[Offset]:
    """The letters that it takes. A dry one asks for no turn.

    Raises:
        UsageError: a redrive, a discard or an erase of the pipeline runs.
        FencedError: one of them may have begun meanwhile; what is noted stays noted.
        DeadLetterError: a mark could not be stored.
    """
    log = letter_log(settings)
    if not log.exists():
        return []
    if is_dry:
        return _chosen(log, decision.choice)
    # An erase gives letters new numbers: only while none runs does a mark name what it means.
    with RedriveTurn(connection_of(settings), settings.group_id, log.topic) as turn:
        offsets = _chosen(log, decision.choice)
        _note(settings, turn, decision, offsets)
    return offsets


def _chosen(log: Letters, choice: Choice) -> list[Offset]:
    return [letter.offset for letter in log.book().open() if choice.takes(letter)]


def _note(
    settings: PipelineSettings, turn: Turn, decision: Decision, offsets: list[Offset]
) -> None:
    if not offsets:
        return
    marks = marks_of(settings)
    for start in range(0, len(offsets), RUN_LETTERS):
        part = tuple(offsets[start : start + RUN_LETTERS])
        turn.keep()
        deadline = Deadline.after(SystemClock(), settings.dead_letters.budget_seconds)
        mark = Mark(Deed.DISCARDED, part, decision.by, now_text(), decision.why)
        marks.store(mark, deadline)
