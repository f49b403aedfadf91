"""Operations waiting to be sent, in lanes: an ID has its lane, a lane has one request at a time.

That is how events of one ID take effect in log order: two requests in flight never share a lane,
so they never share an ID. A request may carry several lanes: under light traffic one request takes
all there is, under heavy traffic each lane fills its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from callsheet.errors import RetryableError
from sinks.elasticsearch.ledger import Entry
from sinks.elasticsearch.suspicion import Suspicion

MERGE_BELOW_BYTES: Final = 512 << 10
"""Requests smaller than this take the next lane along: a request costs more than its bytes. (Four
rounds side by side with 128 KiB: 0 to 13 % more documents a second.)
"""


@dataclass(slots=True, eq=False)
class Chunk:
    """Operations of one batch in one lane: two lines of ``body`` per element of ``rows``."""

    entry: Entry
    rows: Sequence[int]
    body: bytes
    attempts: int = 0
    """How often it was put off, for whatever reason: decides how long to wait."""
    suspicion: Suspicion = field(default_factory=Suspicion)
    """How often the server broke on it: an outage before does not count."""

    def select(self, places: Sequence[int], attempts: int | None = None) -> Chunk:
        """Some of the operations, by their places in ``rows``, in the same order."""
        lines = self.body.split(b"\n")
        body = b"".join(b"%b\n%b\n" % (lines[2 * p], lines[2 * p + 1]) for p in places)
        rows = [self.rows[place] for place in places]
        attempts = self.attempts if attempts is None else attempts
        return Chunk(self.entry, rows, body, attempts, self.suspicion.copy())

    def split(self, most_bytes: int) -> list[Chunk]:
        """Pieces of about ``most_bytes``, at least one operation each."""
        count = max(1, most_bytes * len(self.rows) // max(1, len(self.body)))
        places = range(len(self.rows))
        return [self.select(places[at : at + count]) for at in range(0, len(places), count)]


@dataclass(slots=True)
class Lane:
    waiting: deque[Chunk] = field(default_factory=deque)
    is_busy: bool = False
    not_before_s: float = 0.0
    trouble: RetryableError | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What one lane gives to a request."""

    lane: Lane
    chunks: list[Chunk]


@dataclass(frozen=True, slots=True)
class Request:
    loads: Sequence[Load]
    size_bytes: int

    @property
    def chunks(self) -> Iterator[Chunk]:
        for load in self.loads:
            yield from load.chunks

    @property
    def operations(self) -> int:
        return sum(len(chunk.rows) for chunk in self.chunks)

    def body(self) -> bytes:
        bodies = [chunk.body for chunk in self.chunks]
        return bodies[0] if len(bodies) == 1 else b"".join(bodies)


class Lanes:
    """Not thread-safe: the sender's lock guards it."""

    def __init__(self, count: int) -> None:
        self.all = [Lane() for _ in range(count)]
        self.waiting_bytes = 0
        self._next = 0

    def add(self, lane: int, chunk: Chunk) -> None:
        self.all[lane].waiting.append(chunk)
        self.waiting_bytes += len(chunk.body)

    def take(self, now_s: float, most_bytes: int) -> Request | None:
        """The next request; its lanes are busy until :meth:`release`. None: nothing may go now."""
        loads: list[Load] = []
        size = 0
        enough = min(MERGE_BELOW_BYTES, most_bytes)
        for lane in self._turn():
            if lane.is_busy or not lane.waiting or lane.not_before_s > now_s:
                continue
            if loads and size + len(lane.waiting[0].body) > enough:
                continue
            lane.is_busy = True
            chunks = self._draw(lane, most_bytes - size)
            size += sum(len(chunk.body) for chunk in chunks)
            loads.append(Load(lane, chunks))
            if size >= enough:
                break
        self.waiting_bytes -= size
        return Request(loads, size) if loads else None

    def _turn(self) -> list[Lane]:
        """All lanes, another one first each time: none starves."""
        self._next = (self._next + 1) % len(self.all)
        return self.all[self._next :] + self.all[: self._next]

    @staticmethod
    def _draw(lane: Lane, room: int) -> list[Chunk]:
        """From the front, as much as there is room for, but always something."""
        head = lane.waiting.popleft()
        if len(head.body) > room and len(head.rows) > 1:
            head, *rest = head.split(room)
            lane.waiting.extendleft(reversed(rest))
            return [head]
        chunks, size = [head], len(head.body)
        while lane.waiting and size + len(lane.waiting[0].body) <= room:
            chunk = lane.waiting.popleft()
            size += len(chunk.body)
            chunks.append(chunk)
        return chunks

    def give_back(self, lane: Lane, chunks: Sequence[Chunk]) -> None:
        """To the front: what comes later to this lane waits behind."""
        lane.waiting.extendleft(reversed(chunks))
        self.waiting_bytes += sum(len(chunk.body) for chunk in chunks)

    def next_due_s(self) -> float | None:
        """When the first lane that only waits for its time may go."""
        due = [lane.not_before_s for lane in self.all if lane.waiting and not lane.is_busy]
        return min(due, default=None)

    def trouble(self) -> RetryableError | None:
        return next((lane.trouble for lane in self.all if lane.trouble is not None), None)

    def sift(self, is_wanted: Callable[[Entry, int], bool]) -> list[tuple[Entry, int]]:
        """Drop waiting operations; returns how many of which entry."""
        dropped: list[tuple[Entry, int]] = []
        for lane in self.all:
            kept: deque[Chunk] = deque()
            for chunk in lane.waiting:
                rest = sifted(chunk, is_wanted)
                if rest is None or len(rest.rows) < len(chunk.rows):
                    left = 0 if rest is None else len(rest.rows)
                    dropped.append((chunk.entry, len(chunk.rows) - left))
                if rest is not None:
                    kept.append(rest)
            lane.waiting = kept
            if not kept and not lane.is_busy:
                lane.trouble, lane.not_before_s = None, 0.0
        self.waiting_bytes = sum(len(c.body) for lane in self.all for c in lane.waiting)
        return dropped


def sifted(chunk: Chunk, is_wanted: Callable[[Entry, int], bool]) -> Chunk | None:
    """The operations that are still wanted; None when none is."""
    places = [p for p, row in enumerate(chunk.rows) if is_wanted(chunk.entry, row)]
    if len(places) == len(chunk.rows):
        return chunk
    return chunk.select(places) if places else None
