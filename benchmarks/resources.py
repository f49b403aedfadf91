"""What benchmarks share, made when first asked for: the servers, the interleaved bulk runs."""

from __future__ import annotations

from functools import cached_property

from benchmarks.bulk_runs import BulkRuns, contenders_of
from benchmarks.progress import Narrator
from benchmarks.servers.bench import Servers


class Resources:
    """Closed once, by the runner. Servers are stopped only if this call started them."""

    def __init__(
        self, narrator: Narrator, selected: frozenset[str], *, quick: bool, keep_servers: bool
    ) -> None:
        self._narrator = narrator
        self._selected = selected
        self._quick = quick
        self._keep_servers = keep_servers
        self._opened: Servers | None = None

    @cached_property
    def servers(self) -> Servers:
        """Known, not yet started: `Servers.start` does that, and repairs."""
        self._opened = Servers.of_stack(self._narrator.say)
        return self._opened

    @cached_property
    def bulk(self) -> BulkRuns:
        contenders = contenders_of(self._selected)
        return BulkRuns(self.servers, self._narrator, contenders, quick=self._quick)

    def server_versions(self) -> dict[str, str]:
        """Of the servers that were used; empty when none was."""
        return {} if self._opened is None else self._opened.versions()

    def close(self) -> None:
        if self._opened is not None and not self._keep_servers:
            self._opened.stop()
