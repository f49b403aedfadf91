"""What the fault tests found, kept beside them, and the table that docs/reliability.md shows of it.

`make test-faults` runs the whole matrix and adds to the results; `make test` runs a part of it and
adds nothing. ``python -m tests.support.reliability`` writes the table into the document.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Protocol

from tests.support.every_store import BRIEF_RATE_PER_S, RATE_PER_S
from tests.support.every_store_proof import DifferenceError

_CHECKOUT: Final = Path(__file__).parents[2]
RESULTS: Final = _CHECKOUT / "tests/fault/results/reliability.json"
DOCUMENT: Final = _CHECKOUT / "docs/reliability.md"
OPTION: Final = "--fault-seconds"
_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"
_HEAD: Final = (
    "| fault | how | for | times | changes meanwhile | lost or repeated | caught up in, at most |",
    "| --- | --- | --- | ---: | ---: | --- | ---: |",
)


class Options(Protocol):
    """Of the command line, as pytest.Config has them."""

    def getoption(self, name: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One fault, carried out ``runs`` times. Each time all four stores were proven in the end."""

    fault: str
    """A server, or what happened to a worker."""
    mode: str
    """stopped, frozen, slowed, or at which step."""
    seconds: float | None
    """How long it was away; None where that says nothing."""
    runs: int
    changes: int
    """Rows changed in MySQL meanwhile, over all runs."""
    lost: int
    """Differences between the stores and what they must be: lost, repeated, other."""
    recovery_s: float
    """From the fault's end until all stores had all that MySQL had then; the longest."""
    day: str


def record(
    fault: str,
    mode: str,
    runs: int,
    changes: int,
    lost: int,
    recovery_s: float,
    seconds: float | None = None,
    *,
    results: Path | None = None,
) -> None:
    """Add one row to the results; only the whole matrix should: see :func:`is_whole_matrix`."""
    day = datetime.now(UTC).date().isoformat()
    row = Row(fault, mode, seconds, runs, changes, lost, round(recovery_s, 1), day)
    results = results or RESULTS
    rows = [*read(results), row]
    results.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f"  {json.dumps(asdict(each))}" for each in rows)
    results.write_text(f"[\n{lines}\n]\n", "utf-8")


def is_whole_matrix(config: Options) -> bool:
    """Was it asked for, with ``--fault-seconds``?"""
    return config.getoption(OPTION) is not None


def fault_seconds(config: Options, otherwise: float) -> float:
    """How long a server is to be away."""
    given = config.getoption(OPTION)
    return otherwise if given is None else float(given)


def rate_per_s(config: Options) -> float:
    """Of the changes that go on meanwhile."""
    return RATE_PER_S if is_whole_matrix(config) else BRIEF_RATE_PER_S


@dataclass(slots=True)
class Measured:
    """Filled in by the test."""

    changes: int = 0
    recovery_s: float = 0.0
    runs: int = 1


@contextmanager
def measured(
    config: Options, fault: str, mode: str, seconds: float | None = None
) -> Iterator[Measured]:
    """If this is the whole matrix: records what the block found, differences too. A block that
    fails otherwise has proven nothing, and is no run.
    """
    found = Measured()

    def note(lost: int) -> None:
        if is_whole_matrix(config):
            record(fault, mode, found.runs, found.changes, lost, found.recovery_s, seconds)

    try:
        yield found
    except DifferenceError as error:
        note(len(error.differences))
        raise
    note(0)


def read(results: Path | None = None) -> list[Row]:
    results = results or RESULTS
    if not results.exists():
        return []
    return [Row(**each) for each in json.loads(results.read_text("utf-8"))]


def table(rows: Iterable[Row]) -> str:
    """One line per fault, mode and length, in the order in which they first came."""
    given = list(rows)
    if not given:
        return "No run of the whole matrix is recorded yet."
    keys = list(dict.fromkeys(map(_key, given)))
    ordered = sorted(given, key=lambda row: keys.index(_key(row)))
    return "\n".join([*_HEAD, *(_line(list(group)) for _, group in groupby(ordered, _key))])


def _key(row: Row) -> tuple[str, str, float | None]:
    return row.fault, row.mode, row.seconds


def _line(rows: list[Row]) -> str:
    first = rows[0]
    lost = sum(row.lost for row in rows)
    cells = (
        first.fault,
        first.mode,
        "" if first.seconds is None else f"{first.seconds:g} s",
        f"{sum(row.runs for row in rows)}",
        f"{sum(row.changes for row in rows):,}",
        f"**{lost} differences**" if lost else "nothing",
        f"{max(row.recovery_s for row in rows):.0f} s",
    )
    return f"| {' | '.join(cells)} |"


def with_table(document: str, rows: Iterable[Row]) -> str:
    """The document with the table of these rows between its marks."""
    before, begin, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert end, f"{DOCUMENT.name} has no place for the results"
    return f"{before}{begin}\n{table(rows)}\n{end}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text("utf-8"), read()), "utf-8")
