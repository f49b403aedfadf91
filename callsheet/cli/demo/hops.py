"""One launch date moves, and how long each hop of that change takes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from callsheet.cli.demo.totals import alias_of
from callsheet.errors import CallsheetError

if TYPE_CHECKING:
    import sqlalchemy as sa
    from elasticsearch import Elasticsearch
    from rich.console import Console

_PATIENCE_S: Final = 20.0
_TOPIC: Final = "studio.finance.titles"


@dataclass(frozen=True, slots=True)
class Hops:
    """Milliseconds from the commit in MySQL on."""

    title: str
    before: date | None
    after: date
    kafka_ms: float
    get_ms: float
    search_ms: float


def move_launch_date(engine: sa.Engine, index: Elasticsearch, title_id: int) -> Hops:
    """Move it by a week, watching Kafka, GET by ID and search at once.

    Raises:
        CallsheetError: the change did not arrive within 20 s.
    """
    import sqlalchemy as sa

    from callsheet.kafka.tail import TopicTail
    from finance.tables import TITLES

    at = TITLES.c.title_id == title_id
    with engine.connect() as connection:
        title, before = connection.execute(
            sa.select(TITLES.c.name, TITLES.c.launch_date).where(at)
        ).one()
    after = (before or date(2027, 1, 1)) + timedelta(days=7)
    wanted, alias = after.isoformat(), alias_of("titles")

    def is_readable() -> bool:
        return bool(index.get(index=alias, id=str(title_id))["_source"]["launch_date"] == wanted)

    query: dict[str, Any] = {
        "bool": {"filter": [{"term": {"title_id": title_id}}, {"term": {"launch_date": wanted}}]}
    }

    def is_found() -> bool:
        return bool(index.search(index=alias, query=query, size=0)["hits"]["total"]["value"])

    with TopicTail(os.environ["CALLSHEET_KAFKA_BOOTSTRAP"], _TOPIC) as tail:
        watches = [_Watch(tail.has_new_record), _Watch(is_readable), _Watch(is_found)]
        with engine.begin() as connection:
            connection.execute(sa.update(TITLES).where(at).values(launch_date=after))
        committed_s = time.perf_counter()
        kafka, get, search = (watch.result_ms(committed_s) for watch in watches)
    return Hops(title, before, after, kafka, get, search)


class _Watch:
    """Asks until the answer is yes, in a thread of its own, and notes when that was."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._seen_s: float | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        until_s = time.perf_counter() + _PATIENCE_S
        try:
            while time.perf_counter() < until_s:
                if self._ask():
                    self._seen_s = time.perf_counter()
                    return
                time.sleep(0.001)
        except Exception as error:  # noqa: BLE001 - raised again by result_ms, in the caller
            self._error = error

    def result_ms(self, committed_s: float) -> float:
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._seen_s is None:
            raise CallsheetError(
                f"The change did not arrive within {_PATIENCE_S:.0f} s.",
                hint="`callsheet status` says what does not run, and why.",
            )
        # The watcher may be quicker than the commit's own answer on its way back to us.
        return max(0.0, (self._seen_s - committed_s) * 1000)


def show_hops(out: Console, hops: Hops) -> None:
    before = hops.before.isoformat() if hops.before else "unknown"
    out.print(f"[bold]{hops.title}[/]: launch date {before} → [bold]{hops.after.isoformat()}[/]")
    table = Table("since the commit in MySQL", "ms")
    table.columns[1].justify = "right"
    table.add_row("event in Kafka, committed and readable", f"{hops.kafka_ms:.0f}")
    table.add_row("document readable by its ID", f"{hops.get_ms:.0f}")
    table.add_row("document found by a search", f"{hops.search_ms:.0f}")
    out.print(table)
