"""Loads a file of films into the finance tables, and tells what was dirty in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from callsheet.errors import UsageError
from finance import tables
from finance.films import Film, read_film
from finance.findings import Finding, LoadReport
from finance.ledger import FilmRows, Row, rows_of, talent_row

TITLES_PER_TRANSACTION: Final = 500


def find_films(explicit: Path | None = None) -> Path:
    """The file given, else examples/data/movies.json here or beside the programs."""
    name = Path("examples/data/movies.json")
    folders = (Path.cwd(), Path(__file__).parents[1])
    candidates = [explicit] if explicit else [folder / name for folder in folders]
    for file in candidates:
        if file.is_file():
            return file
    raise UsageError(
        f"No file {' or '.join(str(file) for file in candidates)}.",
        hint="Name a JSON file of films: `callsheet load FILE`.",
    )


def read_rows(file: Path) -> Sequence[Any]:
    """The file's rows with every number exact (Decimal). Raises UsageError if it is no list."""
    try:
        rows = json.loads(file.read_text("utf-8"), parse_float=Decimal)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}.", hint="Check its path and permissions."
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{file} is not JSON: {error}.", hint="It must be one list of films, in UTF-8."
        ) from error
    if not isinstance(rows, list):
        raise UsageError(f"{file} holds no list.", hint="It must be one JSON list of films.")
    return rows


@dataclass(slots=True)
class _Tally:
    inserted: int = 0
    unchanged: int = 0
    kept: int = 0
    skipped: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    absent: Counter[str] = field(default_factory=Counter)


class Loader:
    """Inserts the titles that are missing, each with all its children, in one transaction.

    So a title is either there with its books or not there at all; one that is there is never
    overwritten, because the database is the source of truth and the file only its beginning.
    """

    def __init__(self, engine: sa.Engine, clock_s: Callable[[], float]) -> None:
        self._engine = engine
        self._clock_s = clock_s

    def load(self, rows: Sequence[Any], file: str = "") -> LoadReport:
        started, tally = self._clock_s(), _Tally()
        films = self._films(rows, tally)
        for first in range(0, len(films), TITLES_PER_TRANSACTION):
            self._load_some(films[first : first + TITLES_PER_TRANSACTION], tally)
        return LoadReport(
            file=file,
            rows=len(rows),
            inserted=tally.inserted,
            unchanged=tally.unchanged,
            kept=tally.kept,
            skipped=tally.skipped,
            inserted_rows=dict(tally.rows),
            findings=tuple(tally.findings),
            absent=dict(tally.absent.most_common()),
            seconds=self._clock_s() - started,
        )

    @staticmethod
    def _films(rows: Sequence[Any], tally: _Tally) -> Sequence[Film]:
        films = []
        for number, raw in enumerate(rows, start=1):
            reading = read_film(number, raw)
            tally.findings.extend(reading.findings)
            tally.absent.update(reading.absent)
            if reading.film is None:
                tally.skipped += 1
            else:
                films.append(reading.film)
        return films

    def _load_some(self, films: Sequence[Film], tally: _Tally) -> None:
        with self._engine.begin() as connection:
            there = _titles_there(connection, films)
            missing: list[tuple[Film, FilmRows]] = []
            for film in films:
                expected = rows_of(film)
                stored = there.get(film.title_id)
                if stored is None:
                    missing.append((film, expected))
                elif stored == expected.title:
                    tally.unchanged += 1
                else:
                    tally.kept += 1
            counts = _insert_films(connection, missing)
        # Counted only now: what was rolled back was not inserted.
        tally.inserted += len(missing)
        tally.rows.update(counts)


def _titles_there(connection: sa.Connection, films: Sequence[Film]) -> Mapping[int, Row]:
    columns = [column for column in tables.TITLES.c if column.name != "updated_at"]
    wanted = tables.TITLES.c.title_id.in_([film.title_id for film in films])
    found = connection.execute(sa.select(*columns).where(wanted)).mappings()
    return {row["title_id"]: dict(row) for row in found}


def _insert_films(
    connection: sa.Connection, films: Sequence[tuple[Film, FilmRows]]
) -> Counter[str]:
    talent, added = _talent_ids(connection, (film.director for film, _ in films))
    rows = [rows for _, rows in films]
    payments = [
        {**payment, "talent_id": talent[film.director]}
        for film, made in films
        if film.director is not None
        for payment in made.payments
    ]
    inserted = Counter({tables.TALENT.name: added})
    for table, batch in (
        (tables.TITLES, [made.title for made in rows]),
        (tables.PRODUCTIONS, [row for made in rows for row in made.productions]),
        (tables.SLATE_ENTRIES, [row for made in rows for row in made.slate_entries]),
        (tables.BUDGETS, [row for made in rows for row in made.budgets]),
        (tables.CASH_FLOWS, [row for made in rows for row in made.cash_flows]),
        (tables.TALENT_PAYMENTS, payments),
    ):
        inserted[table.name] += _insert(connection, table, batch)
    return inserted


def _talent_ids(
    connection: sa.Connection, names: Iterable[str | None]
) -> tuple[Mapping[str, int], int]:
    """Everyone's number by name, after adding those who had none; and how many were added."""
    wanted = list(dict.fromkeys(name for name in names if name is not None))
    known = _known_talent(connection, wanted)
    new = [talent_row(name) for name in wanted if name not in known]
    _insert(connection, tables.TALENT, new)
    return (_known_talent(connection, wanted) if new else known), len(new)


def _known_talent(connection: sa.Connection, names: Sequence[str]) -> Mapping[str, int]:
    talent = tables.TALENT.c
    query = (
        sa.select(talent.full_name, talent.talent_id)
        .where(talent.full_name.in_(names))
        # Of two people with one name the first hired wins, so that a repeat picks the same.
        .order_by(talent.talent_id.desc())
    )
    return {name: number for name, number in connection.execute(query)}  # noqa: C416 - typed rows


def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> int:
    if rows:
        # The driver folds the list into statements of many rows each.
        connection.execute(table.insert(), [dict(row) for row in rows])
    return len(rows)
