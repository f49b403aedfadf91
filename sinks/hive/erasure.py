"""Rows' values taken out of an audit: what was compacted away cannot be read back.

The dates that hold them are compacted, through a store that gives out their files without the
values (:mod:`sinks.hive.redaction`). So everything that makes a compaction safe makes this safe:
the partition is claimed, the new files count from one statement on, and a crash leaves either all
or nothing of a date done. Then the old files are removed at once, without the grace that readers
have otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime

import polars as pl

from callsheet.errors import FencedError, PreconditionError, RetryableError
from callsheet.ports import Clock
from callsheet.schema import TableSchema
from callsheet.sink import Holding
from sinks.hive.archive import content_of
from sinks.hive.cleaning import clean
from sinks.hive.compaction import Candidate, Compaction
from sinks.hive.contents import Contents, View
from sinks.hive.entries import Piece
from sinks.hive.hiveserver import HiveServer
from sinks.hive.intake import table_name
from sinks.hive.merging import bundles
from sinks.hive.partitions import PartitionState, is_claimed
from sinks.hive.ranges import RangeLog
from sinks.hive.redaction import RedactedStore, Redaction, told
from sinks.hive.registration import Registration
from sinks.hive.schemas import StoredSchema
from sinks.hive.settings import HiveSettings
from sinks.hive.spool import SpoolOptions
from sinks.hive.stores.configured import open_store
from sinks.hive.stores.port import LostFileError, Store

_NOTHING = Holding(has_values=False, version=None)


class HiveEraser:
    """Implements :class:`callsheet.sink.Eraser`. ``show``: makes Hive show what counts now."""

    def __init__(
        self,
        settings: HiveSettings,
        clock: Clock,
        store: Store | None = None,
        show: Callable[[], object] | None = None,
    ) -> None:
        self._settings, self._clock = settings, clock
        self._store = store or open_store(settings.store)
        self._log = RangeLog(self._store)
        self._show = show or self._published
        self._options = SpoolOptions(
            settings.spool_dir, settings.compression, settings.row_group_rows
        )

    def look(
        self, topic: str, schema: TableSchema, identifiers: Collection[str]
    ) -> Mapping[str, Holding]:
        """In every file that can still be read, whether it counts or waits for its removal."""
        found = dict.fromkeys(identifiers, _NOTHING)
        table, redaction = self._table(topic, schema), self._redaction(identifiers)
        schemas, view = self._schemas(table), self._view(table, in_place=False)
        parts = [self._rows(redaction, piece, schemas) for piece in view.counting()]
        for part in [*parts, *self._waiting(redaction, view, schemas)]:
            for row in part.iter_rows(named=True):
                known = found[row["id"]]
                version = max(row["version"], known.version or 0)
                found[row["id"]] = Holding(known.has_values or row["has_values"], version)
        return found

    def _waiting(
        self, redaction: Redaction, view: View, schemas: Mapping[str, StoredSchema]
    ) -> Iterator[pl.DataFrame]:
        """Of files that count no more and are not removed yet."""
        states = [s for of_table in view.states.values() for s in of_table.values()]
        for state in (state for state in states if not state.is_clean):
            for piece in view.covered(state):
                with suppress(LostFileError):  # half of the removal was done
                    yield self._rows(redaction, piece, schemas)
            # Which schema these were written under is not said any more: what all have in common.
            columns = set[str].intersection(*(set(told(each)) for each in schemas.values()))
            for folder in state.retired:
                for name in self._store.names(folder):
                    path = f"{folder}/{name}"
                    content = self._store.read(path)
                    if content is not None:
                        yield redaction.finds(path, content, columns)

    def erase(self, topic: str, schema: TableSchema, identifiers: Collection[str]) -> None:
        """Of files that a worker is just putting in place, only a further call knows."""
        table, redaction = self._table(topic, schema), self._redaction(identifiers)
        schemas = self._schemas(table)
        try:
            for candidate in self._candidates(table, redaction, schemas):
                files = [piece.file for piece in candidate.pieces]
                store = RedactedStore(self._store, redaction, files, list(schemas.values()))
                Compaction(RangeLog(store), self._options, self._now).run(candidate)
            self._remove(table)
        except FencedError as error:
            raise RetryableError(error.message, hint=error.hint) from error

    def _candidates(
        self, table: str, redaction: Redaction, schemas: Mapping[str, StoredSchema]
    ) -> Iterator[Candidate]:
        """The dates that hold any of the values; each with all of its files."""
        view = self._view(table, in_place=True)
        days: defaultdict[str, list[Piece]] = defaultdict(list)
        for piece in view.counting():
            days[piece.file.date].append(piece)
        for day, pieces in sorted(days.items()):
            state = view.states[table].get(day) or PartitionState(table, day)
            if any(self._rows(redaction, piece, schemas)["has_values"].any() for piece in pieces):
                self._require_free(state)
                target_bytes = self._settings.compaction.target_bytes
                yield Candidate(state, bundles(pieces, target_bytes))

    def _remove(self, table: str) -> None:
        """What no longer counts; nothing before Hive has let go of it."""
        view = self._view(table, in_place=False)
        waiting = [state for state in view.states[table].values() if not state.is_clean]
        if waiting:
            self._show()
        for state in waiting:
            self._require_free(state)
            clean(self._log, view, state)

    def _published(self) -> None:
        server = self._settings.server
        if server is not None:
            with HiveServer(server) as hive:
                Registration(self._log, hive, server.database, server.location).run()

    def _rows(
        self, redaction: Redaction, piece: Piece, schemas: Mapping[str, StoredSchema]
    ) -> pl.DataFrame:
        schema = schemas.get(piece.file.fingerprint)
        if schema is None:
            raise PreconditionError(
                f"the audit has no schema {piece.file.fingerprint} of {piece.file.table}",
                hint="restore _callsheet/schemas from a backup",
            )
        content = content_of(self._store, piece.file)
        return redaction.finds(piece.file.path, content, told(schema))

    def _redaction(self, identifiers: Collection[str]) -> Redaction:
        return Redaction(frozenset(identifiers), self._options)

    def _table(self, topic: str, schema: TableSchema) -> str:
        return table_name(self._settings.table, topic, schema)

    def _schemas(self, table: str) -> dict[str, StoredSchema]:
        return {schema.fingerprint: schema for schema in self._log.schemas(table)}

    def _view(self, table: str, *, in_place: bool) -> View:
        return Contents(self._log).view([table], in_place=in_place)

    def _require_free(self, state: PartitionState) -> None:
        if is_claimed(state, self._now()):
            raise PreconditionError(
                f"somebody works on {state.place} since {state.claimed_at}",
                hint="let that compaction or expiry end; one that has crashed counts for an hour",
            )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)

    def close(self) -> None:
        self._store.close()
