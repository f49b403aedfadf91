"""One run of a sweep, and the daemon that repeats it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import NoReturn

import orjson
from rich.text import Text

from callsheet.cli import console
from callsheet.cli import sweep_view as view
from callsheet.cli.sweep_parts import Scene, stores_of, tables_of
from callsheet.errors import (
    CallsheetError,
    PreconditionError,
    RetryableError,
    UnavailableError,
)
from callsheet.sweep.sweep import Outcome, Sweep, Verdict


def once(
    scene: Scene, job: Sweep, wanted: Collection[str], *, is_again: bool = False
) -> list[Outcome]:
    """Every neighbour that is away is an UnavailableError."""
    with stores_of(scene) as stores:
        job.stores = stores
        return job.run(tables_of(scene, wanted), is_again=is_again)


def repeatedly(
    scene: Scene, job: Sweep, wanted: Collection[str], every_s: float, *, as_json: bool
) -> NoReturn:
    """Until SIGTERM or SIGINT, which may come at any moment: half a sweep is taken up again."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    news = News(as_json=as_json)
    while True:
        try:
            for outcome in once(scene, job, wanted, is_again=True):
                news.tell(outcome)
            news.trouble = ""
        except (UnavailableError, RetryableError, PreconditionError) as error:
            news.suffer(error)
        time.sleep(every_s)


class News:
    """Says a thing once, until it is another."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._last: dict[str, Outcome] = {}
        self.trouble = ""

    def tell(self, outcome: Outcome) -> None:
        if outcome.verdict in {Verdict.CLEAN, Verdict.NO_WATERMARK}:
            self._last.pop(outcome.table, None)
        elif self._last.get(outcome.table) != outcome:
            self._last[outcome.table] = outcome
            self._say(view.row(outcome), view.line(outcome))

    def suffer(self, error: CallsheetError) -> None:
        if error.message != self.trouble:
            self.trouble = error.message
            told = {"trouble": error.message, "hint": error.hint}
            self._say(told, f"waiting: {error.message} {error.hint}".rstrip())

    def _say(self, data: Mapping[str, object], text: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        if self._as_json:
            sys.stdout.write(orjson.dumps({"at": at, **data}).decode() + "\n")
        else:
            console.stdout().print(Text(f"{at} {text}"))
        sys.stdout.flush()
