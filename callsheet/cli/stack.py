"""`callsheet stack`: the real servers on this machine, without containers."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.console import Console
from rich.table import Table

from callsheet.cli import console
from callsheet.cli.downloads import progress_shown
from callsheet.errors import UsageError

if TYPE_CHECKING:
    from stack import Ports, ServerStatus, Stack

app = typer.Typer(
    help="Fetch, start, look at and stop the real servers, natively (Linux x86_64).",
    no_args_is_help=True,
)

_FOLLOW_S = 0.2
_COLOURS = {"running": "green", "starting": "yellow", "stopped": "dim"}
_TROUBLE = {"unhealthy", "paused", "crashed"}

Name = Annotated[
    str,
    typer.Option("--stack", "-s", envvar="CALLSHEET_STACK", help="Which stack; several may run."),
]
Also = Annotated[
    list[str] | None,
    typer.Option("--with", help="A server that does not start by itself: hive, hdfs."),
]
Servers = Annotated[
    list[str] | None, typer.Argument(help="Only these, and what they need.", show_default="all")
]


@app.command()
def up(
    servers: Servers = None,
    *,
    stack: Name = "dev",
    also: Also = None,
    port_base: Annotated[
        str, typer.Option(help="First of consecutive ports; `auto` finds free ones.")
    ] = "",
    port: Annotated[
        list[str] | None, typer.Option(help="One port, NAME=PORT; may be repeated.")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="As root: have apt install what is missing.")
    ] = False,
    as_json: console.Json = False,
) -> None:
    """Start the servers and repair what has crashed; what runs well is left alone.

    The first time everything is fetched (about 1.5 GB, kept: 750 MB) and verified; after that
    the network is not touched. All listen on loopback only.

    Example: [bold]callsheet stack up --with hive[/]
    """
    target = _stack(stack)
    with progress_shown() as progress:
        try:
            target.up(
                _wanted(servers, also),
                progress,
                ports=_ports(target, port_base, port or ()),
                install=install,
            )
        except KeyboardInterrupt:
            progress.say("Interrupted; what has started goes on. `callsheet stack up` continues.")
            raise
    _show(target, as_json=as_json)


@app.command()
def down(
    stack: Name = "dev",
    purge: Annotated[bool, typer.Option("--purge", help="Remove its data as well.")] = False,
) -> None:
    """Stop every server, also one that hangs; the data stays unless --purge is given.

    Example: [bold]callsheet stack down[/]
    """
    with progress_shown() as progress:
        _stack(stack).down(progress, purge=purge)


@app.command()
def destroy(
    stack: Name = "dev",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop every server and remove the stack: its data, passwords and logs.

    Example: [bold]callsheet stack destroy --stack trial --yes[/]
    """
    target = _stack(stack)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                f"Destroying the stack {target.name} removes its data and nobody is here to "
                "confirm it.",
                hint="Add --yes.",
            )
        typer.confirm(f"Remove {target.home} and all data in it?", abort=True, err=True)
    with progress_shown() as progress:
        target.down(progress, purge=True)


@app.command()
def restart(
    server: Annotated[str, typer.Argument(help="Which server.")], stack: Name = "dev"
) -> None:
    """Stop one server and start it again.

    Example: [bold]callsheet stack restart connect[/]
    """
    with progress_shown() as progress:
        _stack(stack).restart(server, progress)


@app.command()
def fetch(servers: Servers = None, stack: Name = "dev", also: Also = None) -> None:
    """Download and verify what the servers are made of; start nothing.

    Resumes where an interruption left it.

    Example: [bold]callsheet stack fetch[/]
    """
    with progress_shown() as progress:
        _stack(stack).fetch(_wanted(servers, also), progress)


@app.command()
def status(stack: Name = "dev", as_json: console.Json = False) -> None:
    """Ask every server how it is. Exit code 1 when one is crashed, unhealthy or paused.

    Example: [bold]callsheet stack status --json[/]
    """
    found = _show(_stack(stack), as_json=as_json)
    if any(each.state.value in _TROUBLE for each in found):
        raise typer.Exit(1)


@app.command()
def logs(
    server: Annotated[str, typer.Argument(help="Which server.")],
    stack: Name = "dev",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="How many to begin with.")
    ] = 50,
) -> None:
    """Print the end of a server's log.

    Example: [bold]callsheet stack logs connect -f[/]
    """
    path = _stack(stack).log(server)
    if not path.exists():
        raise UsageError(f"{server} has no log yet.", hint="Start it: callsheet stack up.")
    with path.open(encoding="utf-8", errors="replace") as file:
        sys.stdout.writelines(deque(file, maxlen=lines))
        sys.stdout.flush()
        if follow:
            _follow(path, file)


@app.command()
def env(
    stack: Name = "dev",
    export: Annotated[bool, typer.Option("--export", help="As lines for a shell.")] = False,
    as_json: console.Json = False,
) -> None:
    """Print the stack's CALLSHEET_* variables, passwords included.

    Example: [bold]eval "$(callsheet stack env --export)"[/]
    """
    variables = _stack(stack).environment()
    prefix = "export " if export else ""

    def render(_: Console) -> None:
        sys.stdout.writelines(f"{prefix}{name}={value}\n" for name, value in variables.items())

    console.emit(as_json, variables, render)


def _stack(name: str) -> Stack:
    from stack import Stack

    return Stack.named(name)


def _wanted(servers: Sequence[str] | None, also: Sequence[str] | None) -> list[str]:
    from stack import DEFAULT_SERVERS

    return [*(servers or DEFAULT_SERVERS), *(also or ())]


def _ports(stack: Stack, base: str, given: Sequence[str]) -> Ports | None:
    """The ports that the options ask for; None when they ask for nothing."""
    from stack import Ports

    if not base and not given:
        return None
    if base == "auto":
        ports = stack.ports if stack.is_made else Ports.free()
    elif base:
        ports = Ports.from_base(_number("--port-base", base))
    else:
        ports = stack.ports
    pairs = [each.partition("=") for each in given]
    return ports.with_ports({name: _number(f"--port {name}", value) for name, _, value in pairs})


def _number(option: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise UsageError(f"{option}: {text!r} is no port.", hint="A number from 1 to 65535.")
    return int(text)


def _show(stack: Stack, *, as_json: bool) -> list[ServerStatus]:
    found = stack.status()

    def render(out: Console) -> None:
        table = Table(box=None)
        for title in ("server", "state", "address", "version", "pid", "memory"):
            table.add_column(title, no_wrap=True, overflow="ignore")
        for each in found:
            colour = _COLOURS.get(each.state.value, "red")
            table.add_row(
                each.server,
                f"[{colour}]{each.state.value}[/]",
                each.address,
                each.version,
                str(each.pid or ""),
                f"{each.memory_bytes >> 20} MiB" if each.memory_bytes else "",
            )
        if not out.is_terminal:
            out.width = 120  # cut at 80 columns, addresses would be of no use
        out.print(table)
        for each in found:
            if each.detail:
                out.print(f"{each.server}: {each.detail}", markup=False)

    console.emit(as_json, [asdict(each) for each in found], render)
    return found


def _follow(path: Path, file: TextIO) -> None:
    """Print what is added; a restarted server begins a new file of the same name."""
    while True:
        if text := file.read():
            sys.stdout.write(text)
            sys.stdout.flush()
            continue
        if path.exists() and not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            with path.open(encoding="utf-8", errors="replace") as new:
                return _follow(path, new)
        time.sleep(_FOLLOW_S)
