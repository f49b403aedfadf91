"""``callsheet run``: the workers of one or more pipelines, as a daemon."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callsheet.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from callsheet.config.models import PipelineSettings
    from callsheet.runtime import RunRecord
    from callsheet.supervision import Plan

_MARGIN_S = 15.0
"""Beyond the stated budgets: leaving the group, closing connections."""

Pipelines = Annotated[list[Path], typer.Argument(help="Pipeline files.", show_default=False)]


def run(  # noqa: PLR0917 - one parameter per option
    pipelines: Pipelines,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes per pipeline.")
    ] = None,
    http: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Instead of the file's `http`.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the first documents; write, commit nothing.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="With --dry-run: how many.")] = 10,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Carry changes from Kafka to a destination, until SIGTERM; then finish what is in hand.

    Each worker is a process of its own, started again when it fails. Several pipelines do not hold
    each other up. This process serves /livez, /readyz, /metrics and /status.

    Example: callsheet run cdc-config/pipelines/search.yaml --workers 2
    """
    if log_level not in ("debug", "info", "warning", "error"):
        raise UsageError(f"--log-level {log_level}: debug, info, warning or error")
    if dry_run:
        from callsheet.cli.dry_run import show

        for file in pipelines:
            show(file, limit)
        return
    _supervise(pipelines, workers, http, log_level)


def _supervise(
    files: Sequence[Path], workers: int | None, http: str | None, log_level: str
) -> None:
    from prometheus_client import CollectorRegistry

    from callsheet.observability.http import HttpServer, application, bound_socket
    from callsheet.observability.logging import configure
    from callsheet.observability.relay import Relay
    from callsheet.ports import SystemClock
    from callsheet.runtime import RunFile, run_dir
    from callsheet.supervision import Supervisor

    loaded = _load(files, workers)
    host, port = _address(loaded, http)
    listener = bound_socket(host, port)
    base = f"http://{_reachable(host)}:{listener.getsockname()[1]}"
    registry, relay, log = CollectorRegistry(), Relay(), configure(log_level, role="supervisor")
    registry.register(relay)
    plans = [plan for each in loaded for plan in each.plans()]
    supervisor = Supervisor(plans, relay, SystemClock(), log, log_level=log_level)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    server = HttpServer(listener, application(supervisor.states, registry))
    run_file = RunFile(run_dir(os.environ))
    run_file.write([each.record(base) for each in loaded])
    server.start()
    log.info("serving", http=base)
    try:
        supervisor.run()
    finally:
        run_file.remove()
        server.stop()


@dataclass(frozen=True, slots=True)
class _Loaded:
    file: Path
    text: str
    settings: PipelineSettings
    workers: int

    def plans(self) -> list[Plan]:
        from callsheet.observability.health import HealthLimits
        from callsheet.supervision import Plan

        delivery, letters = self.settings.delivery, self.settings.dead_letters
        finish_s = letters.budget_seconds + _MARGIN_S
        turn_s = delivery.write_budget_seconds + delivery.revoke_budget_seconds
        health = HealthLimits(
            turn_s + letters.budget_seconds + finish_s, delivery.held_limit_seconds
        )
        grace_s = delivery.write_budget_seconds + delivery.stop_budget_seconds + finish_s
        return [
            Plan(self.settings.name, str(self.file.absolute()), self.text, n, health, grace_s)
            for n in range(self.workers)
        ]

    def record(self, http: str) -> RunRecord:
        from callsheet.runtime import RunRecord, started_s

        name, group, pid = self.settings.name, self.settings.group_id, os.getpid()
        file = str(self.file.absolute())
        brokers = self.settings.kafka.bootstrap_servers
        return RunRecord(name, file, group, self.workers, pid, started_s(pid), http, brokers)


def _load(files: Sequence[Path], workers: int | None) -> list[_Loaded]:
    """The core's part of each file. The sink's part is validated where its libraries are: by the
    worker, before it consumes anything. If this part has faults, both are told at once.
    """
    from callsheet.config.loading import load_core, read

    loaded: list[_Loaded] = []
    for file in files:
        text = read(file)
        try:
            settings = load_core(text, file, os.environ)
        except ConfigError:
            _load_all(text, file)
            raise
        loaded.append(_Loaded(file, text, settings, workers or settings.workers))
    names = [each.settings.name for each in loaded]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"more than one of the files is called {', '.join(twice)}")
    return loaded


def _load_all(text: str, file: Path) -> None:
    from callsheet.config.loading import load_text
    from sinks import plugin

    load_text(text, file, os.environ, plugin)


def _address(loaded: Sequence[_Loaded], given: str | None) -> tuple[str, int]:
    if given is not None:
        host, _, port = given.rpartition(":")
        if not port.isdecimal() or int(port) >= 1 << 16:
            raise UsageError(f"--http {given}: write HOST:PORT", hint="for instance 0.0.0.0:8410")
        return host.strip("[]") or "127.0.0.1", int(port)
    stated = {(each.settings.http.host, each.settings.http.port) for each in loaded}
    if len(stated) > 1:
        raise UsageError(
            "the pipeline files state different `http` addresses, and one process serves them all",
            hint="say which: --http HOST:PORT",
        )
    return stated.pop()


def _reachable(host: str) -> str:
    """An address to ask, for one that is listened on."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
