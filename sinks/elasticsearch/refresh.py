"""When a written document becomes searchable.

Elasticsearch refreshes by itself every ``refresh_interval``. While traffic is light that is a long
wait for little gain, so ``adaptive`` refreshes an index right after it was written to:

- *light* at first; *heavy* once more than ``heavy_above_events`` events were written to the index
  within the last second; light again once it is ``light_below_events`` or fewer. Between the two
  marks it stays what it was.
- However light, refreshing takes at most ``share_of_time`` of the time: after a refresh that took
  t, the next one starts no sooner than t / share - t later. A slow server sets its own pace.

A refresh that fails is no failed write: the interval is still there.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from elastic_transport import ApiError, TransportError
from elasticsearch import Elasticsearch
from structlog.typing import FilteringBoundLogger

from callsheet.ports import Clock
from sinks.elasticsearch.client import translated
from sinks.elasticsearch.settings import AdaptiveSettings

WINDOW_S: Final = 1.0
FAILURE_REST_S: Final = 5.0


@dataclass(slots=True)
class Traffic:
    """One index: how busy, when refreshed, whether something is waiting for it."""

    settings: AdaptiveSettings
    is_light: bool = True
    is_dirty: bool = False
    not_before_s: float = 0.0
    _recent: deque[tuple[float, int]] = field(default_factory=deque)
    _events: int = 0

    def written(self, now_s: float, events: int) -> None:
        self.is_dirty = True
        self._recent.append((now_s, events))
        self._events += events
        self._judge(now_s)

    def _judge(self, now_s: float) -> None:
        while self._recent and self._recent[0][0] <= now_s - WINDOW_S:
            self._events -= self._recent.popleft()[1]
        if self._events > self.settings.heavy_above_events:
            self.is_light = False
        elif self._events <= self.settings.light_below_events:
            self.is_light = True

    def due_s(self, now_s: float) -> float | None:
        """When to refresh it; None: not at all, the interval does."""
        if not self.is_dirty:
            return None
        self._judge(now_s)
        return max(now_s, self.not_before_s) if self.is_light else None

    def refreshed(self, now_s: float, took_s: float) -> None:
        share = self.settings.share_of_time
        self.not_before_s = now_s + took_s * (1 - share) / share


class Refresher:
    """A thread that refreshes what is due, one index at a time."""

    def __init__(
        self,
        client: Elasticsearch,
        settings: AdaptiveSettings,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._client, self._settings, self._clock, self._log = client, settings, clock, log
        self._traffic: dict[str, Traffic] = {}
        self._changed = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="refresh", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, wait_s: float) -> None:
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(wait_s)

    def written(self, documents: Mapping[str, int]) -> None:
        """From any thread: so many documents were written, by alias."""
        now = self._clock.monotonic()
        with self._changed:
            for alias, count in documents.items():
                if count:
                    self._of(alias).written(now, count)
            self._changed.notify_all()

    def _of(self, alias: str) -> Traffic:
        return self._traffic.setdefault(alias, Traffic(self._settings))

    def _run(self) -> None:
        while (alias := self._next()) is not None:
            started = self._clock.monotonic()
            rest_s = 0.0
            try:
                self._client.indices.refresh(index=alias)
            except (ApiError, TransportError) as error:
                rest_s = FAILURE_REST_S
                cause = translated(error, self._clock).message
                self._log.warning("refresh failed; the interval does it", index=alias, cause=cause)
            now = self._clock.monotonic()
            with self._changed:
                self._of(alias).refreshed(now, max(now - started, rest_s))

    def _next(self) -> str | None:
        """Wait for an index that is due; None when stopping."""
        with self._changed:
            while not self._is_stopping:
                now = self._clock.monotonic()
                due = {a: at for a, t in self._traffic.items() if (at := t.due_s(now)) is not None}
                alias = min(due, key=lambda a: due[a], default=None)
                if alias is not None and due[alias] <= now:
                    # Before the request: what is written while it runs needs the next one.
                    self._traffic[alias].is_dirty = False
                    return alias
                self._changed.wait(None if alias is None else due[alias] - now)
            return None
