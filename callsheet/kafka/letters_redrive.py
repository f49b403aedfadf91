"""A redrive as a consumer: the worker's own loop decodes, writes, settles, and puts aside anew.

Each step may be the last one before a crash, and each is safe to repeat:

1. BEGUN is stored: which letters, in which order. From here on they have a place of their own.
2. The worker writes them. A destination that keeps offsets knows the place again; one that keeps
   versions finds them stale.
3. What fails again is a new letter, acknowledged, which supersedes the old one.
4. "Committing" is a REDRIVEN mark for what is durable or a new letter: only now it is done.

A redrive that did not come to its end is taken up again under its own number before another begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from callsheet.batch import Message, Offset, Partition
from callsheet.errors import FencedError, Reason
from callsheet.kafka.letters import (
    FIRST_REDRIVE_PARTITION,
    Deed,
    LetterBook,
    Mark,
    Record,
    Redriven,
    Run,
    State,
    StoredLetter,
    presented,
)
from callsheet.ports import Clock, DeadLetters, Deadline, RebalanceListener

CHUNK_LETTERS = 500
CHUNK_BYTES = 16 * 1024 * 1024
RUN_LETTERS = 10_000
"""A BEGUN names each of its letters, and must fit a record."""
_NAP_S = 0.05


class Originals(Protocol):
    """Where the records of letters are read."""

    def originals(self, letters: Collection[StoredLetter]) -> dict[Offset, Record]: ...


class Letters(Originals, Protocol):
    """The letters' topic."""

    def book(self) -> LetterBook: ...


class Marks(Protocol):
    """Where it is noted what was done.

    Raises (:meth:`acknowledged`):
        DeadLetterError: a mark could not be stored.
        FencedError: the transaction is lost in which it and its rows were.
    """

    def put(self, mark: Mark) -> None:
        """Send it, in the order of the calls."""
        ...

    def acknowledged(self) -> Offset | None:
        """Where the next mark is stored; None when nothing new is."""
        ...


class MarkStore(Marks, Protocol):
    """The same, for those who can wait."""

    def wait(self, deadline: Deadline) -> None: ...
    def store(self, mark: Mark, deadline: Deadline) -> Offset: ...


class Turn(Protocol):
    def keep(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Surety:
    """All that a redrive needs beside its letters. ``signed`` makes a mark of this operator."""

    source: Originals
    marks: Marks
    turn: Turn
    clock: Clock
    signed: Callable[[Deed, Sequence[Offset], Offset], Mark]


def planned(letters: Collection[StoredLetter]) -> list[tuple[StoredLetter, ...]]:
    """Letters in the order of their source logs, cut into runs of bearable size."""
    ordered = sorted(letters, key=lambda letter: letter.place)
    return [
        tuple(ordered[start : start + RUN_LETTERS]) for start in range(0, len(ordered), RUN_LETTERS)
    ]


class LetterConsumer:
    """Implements :class:`callsheet.ports.Consumer` for one run. Nobody shares it, so it rebalances
    never; a partition that the worker seeks back in is one that it has parked.

    Attributes:
        gone: letters whose record nobody has any more; they stay open.
        lost: why the transaction that held rows and marks is lost; empty while it is not.
    """

    def __init__(
        self, run: Run, book: LetterBook, surety: Surety, finished: Callable[[], None]
    ) -> None:
        self._run, self._surety, self._finished = run, surety, finished
        self._waiting: dict[Partition, deque[tuple[int, StoredLetter]]] = {}
        for place, offset in enumerate(run.letters):
            letter = book.letters.get(offset)
            if letter is not None and letter.state is State.OPEN:
                self._waiting.setdefault(self._partition(letter), deque()).append((place, letter))
        self._unmarked = {at: deque(rest) for at, rest in self._waiting.items()}
        self._listener: RebalanceListener | None = None
        self._sent: deque[tuple[dict[Partition, Offset], int]] = deque()
        self._paused: set[Partition] = set()
        self._parked: set[Partition] = set()
        self.gone: list[StoredLetter] = []
        self.marked = 0
        self.lost = ""

    def _partition(self, letter: StoredLetter) -> Partition:
        return Partition(letter.source.topic, FIRST_REDRIVE_PARTITION + self._run.number)

    # --- the group ------------------------------------------------------------------------------

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:  # noqa: ARG002 - the letters say which
        # Where the sink ends does not matter: it may lie beyond a record that it refused, and whose
        # new letter a crash has prevented. What it has already it skips, or finds stale.
        if self._listener is not None:
            # Joined anew, as after every lost transaction: what it held only a new run can tell.
            self._waiting = {}
            self._finished()
            return
        self._listener = listener
        listener.on_assigned(frozenset(self._waiting))

    def assignment(self) -> frozenset[Partition]:
        return frozenset(self._waiting)

    def pause(self, partitions: Collection[Partition]) -> None:
        self._paused |= set(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self._paused -= set(partitions)

    def seek(self, partition: Partition, offset: Offset) -> None:  # noqa: ARG002 - it is not read again
        self._parked.add(partition)

    def close(self) -> None:
        """The turn and the marks belong to whoever made them."""
        if self._listener is not None:
            self._listener.on_revoked(self.assignment())

    # --- reading --------------------------------------------------------------------------------

    def poll(self, max_events: int, timeout_s: float) -> Sequence[Message]:
        self._surety.turn.keep()
        chunk = self._chunk(min(max_events, CHUNK_LETTERS))
        if not chunk:
            if self._is_handed_over():
                self._finished()
            self._surety.clock.sleep(min(timeout_s, _NAP_S))
            return ()
        records = self._surety.source.originals([letter for _, letter in chunk])
        found: list[Message] = []
        for place, letter in chunk:
            record = records.get(letter.offset)
            if record is None:
                self._give_up(place, letter)
            else:
                found.append(presented(letter, record, self._run.number, place))
        return found

    def _chunk(self, most: int) -> list[tuple[int, StoredLetter]]:
        """The next ones; one at least, however large it is."""
        chunk: list[tuple[int, StoredLetter]] = []
        size = 0
        for at, waiting in self._waiting.items():
            while waiting and at not in self._paused and at not in self._parked:
                letter = waiting[0][1]
                size += letter.cut.size_bytes if letter.cut else letter.size_bytes
                if chunk and (len(chunk) >= most or size > CHUNK_BYTES):
                    return chunk
                chunk.append(waiting.popleft())
        return chunk

    def _give_up(self, place: int, letter: StoredLetter) -> None:
        self.gone.append(letter)
        self._unmarked[self._partition(letter)].remove((place, letter))

    def _is_handed_over(self) -> bool:
        """Has the destination accepted all that it will? While it is away the worker pauses. What
        is accepted becomes durable when the worker finishes: a destination may wait to be told.
        """
        return not self._paused - self._parked and not any(
            rest for at, rest in self._waiting.items() if at not in self._parked
        )

    def ends(self) -> Mapping[Partition, Offset]:
        return {}

    # --- marking --------------------------------------------------------------------------------

    def commit(self, offsets: Mapping[Partition, Offset]) -> None:
        """As the worker commits: the mark is stored when :meth:`committed` says so."""
        letters: list[Offset] = []
        for at, offset in offsets.items():
            unmarked = self._unmarked[at]
            while unmarked and unmarked[0][0] < offset:
                letters.append(unmarked.popleft()[1].offset)
        self._surety.marks.put(self._surety.signed(Deed.REDRIVEN, letters, self._run.number))
        self._sent.append((dict(offsets), len(letters)))

    def committed(self) -> Mapping[Partition, Offset] | None:
        try:
            if self._surety.marks.acknowledged() is None:
                return None
        except FencedError as error:
            self.lost = error.message
            raise
        offsets, letters = self._sent.popleft()
        self.marked += letters
        return offsets

    @property
    def remaining(self) -> int:
        """Letters that are not redriven, as far as is known."""
        sent = sum(letters for _, letters in self._sent)
        return sum(map(len, self._unmarked.values())) + sent + len(self.gone)


class RedriveLetters:
    """Implements :class:`callsheet.ports.DeadLetters`: the new letter names the record's own place,
    not that in the redrive.
    """

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters

    def put(self, message: Message, reason: Reason, detail: str) -> None:
        self._letters.put(cast("Redriven", message).original, reason, detail)

    def flush(self, deadline: Deadline) -> None:
        self._letters.flush(deadline)
