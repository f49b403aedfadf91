"""``callsheet doctor``: what this machine and its servers lack, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from callsheet.cli import console
from callsheet.doctor import Finding
from callsheet.errors import CallsheetError

if TYPE_CHECKING:
    from rich.console import Console

_MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}
_EXIT_CODE = 75
_PATIENCE_S = 5.0


def doctor(
    connectors: Annotated[
        Path, typer.Option(help="The connector files whose MySQL is looked at.")
    ] = Path("cdc-config/connectors"),
    as_json: console.Json = False,
) -> None:
    """Look at this machine, the decoder, the servers and MySQL; say what is missing.

    Exit code 75 when something must be mended first; a warning alone is 0.

    Example: [bold]callsheet doctor --json[/]
    """
    findings = [*_machine(), _decoder(), *_servers(), *_mysql(connectors)]
    data = [asdict(finding) for finding in findings]
    console.emit(as_json, data, lambda out: _render(out, findings))
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(_EXIT_CODE)


def _machine() -> Iterator[Finding]:
    from stack import machine_findings

    yield from machine_findings()


def _decoder() -> Finding:
    from callsheet.codec.columnar import load_native

    if load_native() is not None:
        return Finding("decoder", "native", "ok", "the fast columnar decoder is installed")
    return Finding(
        "decoder",
        "native",
        "warn",
        "the fast decoder is not installed, or is of another version; the row path decodes, as "
        "safe and about ten times slower",
        hint="install Rust (https://rustup.rs) and run `make setup` again",
    )


def _servers() -> Iterator[Finding]:
    """Whether what the environment names answers; a native stack fills the environment."""
    import httpx

    from callsheet.absence import absence

    yield _kafka()
    addresses = {
        "connect": os.environ.get("CALLSHEET_CONNECT_URL", ""),
        "registry": os.environ.get("CALLSHEET_REGISTRY_URL", ""),
        "elasticsearch": os.environ.get("CALLSHEET_ELASTICSEARCH_URL", ""),
    }
    for name, address in addresses.items():
        if not address:
            hint = f"`callsheet stack up`, or set CALLSHEET_{name.upper()}_URL"
            yield Finding("servers", name, "warn", "no address is known", hint)
            continue
        path = "/subjects" if name == "registry" else "/"
        try:
            status = httpx.get(address.rstrip("/") + path, timeout=_PATIENCE_S).status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            message = f"{address} does not answer: {absence(error)}"
            hint = f"`callsheet stack up` starts it; `callsheet stack logs {name}` says why not"
            yield Finding("servers", name, "fail", message, hint)
            continue
        yield _answered(name, address, status)


def _kafka() -> Finding:
    from callsheet.kafka.admin import KafkaTopics
    from callsheet.kafka.environment import BOOTSTRAP, connection

    if not os.environ.get(BOOTSTRAP):
        hint = f"`callsheet stack up`, or set {BOOTSTRAP}"
        return Finding("servers", "kafka", "warn", "no address is known", hint)
    brokers = connection(os.environ)
    try:
        # Any topic will do: that it is missing is an answer.
        KafkaTopics(brokers.common(), timeout_s=_PATIENCE_S).describe(["callsheet-connect-status"])
    except CallsheetError as error:
        hint = "`callsheet stack up` starts it; `callsheet stack logs kafka` says why not"
        return Finding("servers", "kafka", "fail", error.message.rstrip("."), hint)
    return Finding("servers", "kafka", "ok", f"{brokers.bootstrap_servers} answers")


def _answered(name: str, address: str, status: int) -> Finding:
    if status in {401, 403}:
        return Finding("servers", name, "ok", f"{address} answers, and wants credentials")
    if status >= 400:
        hint = f"is {address} really the {name}'s address? `callsheet stack logs {name}`"
        return Finding("servers", name, "fail", f"{address} answers {status}", hint)
    return Finding("servers", name, "ok", f"{address} answers")


def _mysql(folder: Path) -> Iterator[Finding]:
    from connectors.files import load_all
    from connectors.survey import MysqlSurvey, diagnose

    if "CALLSHEET_MYSQL_HOST" not in os.environ:
        hint = "`callsheet stack up`, or set CALLSHEET_MYSQL_HOST and its companions"
        yield Finding("mysql", "address", "warn", "no MySQL is known", hint)
        return
    survey = MysqlSurvey(os.environ)
    for file in load_all([folder]):
        yield from diagnose(survey, file)


def _render(out: Console, findings: list[Finding]) -> None:
    table = Table("", "area", "what", "found", box=None, pad_edge=False)
    for finding in findings:
        mark, style = _MARKS[finding.level]
        found = Text(finding.message)
        if finding.hint and finding.level != "ok":
            found.append(f"\n→ {finding.hint}", "bold")
        table.add_row(Text(mark, style), finding.area, Text(finding.name), found)
    out.print(table)
    failed = sum(finding.level == "fail" for finding in findings)
    warned = sum(finding.level == "warn" for finding in findings)
    out.print(f"\n{len(findings)} looked at, {failed} to mend, {warned} to know about.")
