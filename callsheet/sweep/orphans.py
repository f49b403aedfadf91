"""IDs that were found, each once, on disk where they are many."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final, Self

PAGE_ROWS: Final = 1_000


class Orphans:
    """One table's. SQLite's unnamed database lives in memory, spills into a file that nobody else
    sees, and goes when it is closed.
    """

    def __init__(self) -> None:
        self._ids = sqlite3.connect("", isolation_level=None)
        self._ids.execute("CREATE TABLE orphan (id TEXT PRIMARY KEY) WITHOUT ROWID")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ids.close()

    def add(self, identifiers: Sequence[str]) -> None:
        rows = ((identifier,) for identifier in identifiers)
        self._ids.executemany("INSERT OR IGNORE INTO orphan VALUES (?)", rows)

    def __len__(self) -> int:
        return int(self._ids.execute("SELECT COUNT(*) FROM orphan").fetchone()[0])

    def pages(self) -> Iterator[Sequence[str]]:
        """In the order of the IDs: a sweep that is run again goes the same way."""
        after = ""
        while True:
            rows = self._ids.execute(
                "SELECT id FROM orphan WHERE id > ? ORDER BY id LIMIT ?", (after, PAGE_ROWS)
            ).fetchall()
            if not rows:
                return
            yield [row[0] for row in rows]
            after = rows[-1][0]
