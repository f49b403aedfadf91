"""``callsheet demo``: the main job on real films, from nothing, checked to the cent."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated

import typer
from rich.console import Console

from callsheet.cli import console
from callsheet.errors import CallsheetError

_PIPELINE = "cdc-config/pipelines/search.yaml"
_TITLE_ID = 1090  # any film will do; this one has a launch date and a budget

_NEXT = """
Everything is still running. What to try next:

  callsheet search "pirates" --kind film --budget-over 100e6
  callsheet simulate --rate 200 --seconds 30      a studio at work: dates move, budgets are revised
  callsheet status                                connectors, worker, lag
  callsheet run --dry-run {pipeline}
  callsheet stack logs connect -f

  callsheet demo --down                           stops all of it; the data stays
"""


def demo(
    down: Annotated[
        bool, typer.Option("--down", help="Stop the demo's processes and servers.")
    ] = False,
    stop_after: Annotated[
        bool, typer.Option("--stop-after", help="Stop them when the demo is over.")
    ] = False,
) -> None:
    """From nothing to a searched film: servers, schema, films, capture, worker, proof.

    Each step is a command that you could type. Ctrl-C at any moment leaves nothing broken;
    run it again and it goes on. Ends with exit code 1 when MySQL and the index differ.

    Example: [bold]callsheet demo[/]
    """
    from callsheet.cli import fill_environment
    from callsheet.cli.demo import steps, supervisor

    if down:
        _stop()
        return
    out, began = console.stdout(), time.monotonic()
    try:
        steps.announce(out, 1, "The servers: MySQL, Kafka, Connect, Schema Registry, Elasticsearch")
        steps.run("stack", "up")
        fill_environment()
        steps.announce(out, 2, "The finance schema and its accounts")
        steps.run("migrate", "up")
        steps.announce(out, 3, "3,201 real films; what is dirty in them is reported")
        steps.run("load")
        steps.announce(out, 4, "Capture: Debezium in Kafka Connect")
        steps.run("connectors", "apply")
        supervisor.start(out)
        steps.announce(out, 5, "A sink worker, in the background")
        steps.start_worker(out, _PIPELINE)
        _prove(out)
    except KeyboardInterrupt:
        console.stderr().print("\nInterrupted; nothing is broken. Run it again and it goes on.")
        raise
    took = time.monotonic() - began
    out.print(f"\n[bold green]The demo took {took:.0f} s.[/]")
    if stop_after:
        _stop()
    else:
        sys.stdout.write(_NEXT.format(pipeline=_PIPELINE))


def _stop() -> None:
    from callsheet.cli.demo import steps, supervisor

    supervisor.stop()  # first: it would take the servers' end for trouble
    steps.stop_worker(_PIPELINE)
    steps.run("stack", "down")


def _prove(out: Console) -> None:
    from elasticsearch import Elasticsearch

    from callsheet.cli.demo import steps
    from callsheet.cli.demo.hops import move_launch_date, show_hops
    from callsheet.cli.demo.totals import answered, compare, show_comparison, wait_for_rows
    from finance.database import Account, Role, open_engine, translated

    account = Account.from_environment(os.environ, Role.APP)
    engine = open_engine(account)
    url = os.environ["CALLSHEET_ELASTICSEARCH_URL"]
    with Elasticsearch(url) as index, translated(account), answered(url):
        steps.announce(out, 6, "The index catches up")
        wait_for_rows(out, engine, index)
        steps.announce(out, 7, "Is it equal? Rows and sums of money, MySQL against the index")
        found = compare(engine, index)
        show_comparison(out, found)
        if not all(each.is_equal for each in found):
            raise CallsheetError(
                "MySQL and the index differ.",
                hint="`callsheet status` says what runs, `callsheet stack logs connect` and the "
                "worker's log say why; then run the demo again.",
            )
        steps.announce(out, 8, "A launch date moves")
        show_hops(out, move_launch_date(engine, index, _TITLE_ID))
    steps.announce(out, 9, "And a search")
    steps.run("search", "pirates", "--limit", "3")
