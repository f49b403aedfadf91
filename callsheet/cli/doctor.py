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
from callsheet.errors import CallsheetError, ConfigError

if TYPE_CHECKING:
    from rich.console import Console

_MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}
_EXIT_CODE = 75
_PATIENCE_S = 5.0
_CA_FILES = {"elasticsearch": "CALLSHEET_ELASTICSEARCH_CA_FILE"}
"""Which variable names the authority behind a server's certificate; else it is SSL_CERT_FILE."""


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
    yield _kafka()
    for name in ("connect", "registry", "elasticsearch"):
        variable = f"CALLSHEET_{name.upper()}_URL"
        address = os.environ.get(variable, "")
        if not address:
            hint = f"`callsheet stack up`, or set {variable}"
            yield Finding("servers", name, "warn", "no address is known", hint)
        elif not address.lower().startswith(("http://", "https://")):
            # Not shown: what is no URL has no part of which one knows that it is no secret.
            hint = "it is http(s)://host:port"
            yield Finding("servers", name, "fail", f"{variable} is no http(s) address", hint)
        else:
            yield _asked(name, address)


def _asked(name: str, address: str) -> Finding:
    import httpx

    from callsheet.absence import absence
    from connectors.masking import without_userinfo
    from connectors.tls import trusted

    shown, path = without_userinfo(address), "/subjects" if name == "registry" else "/"
    variable = _CA_FILES.get(name, "SSL_CERT_FILE")
    try:
        verify = trusted(os.environ, variable)
        url = address.rstrip("/") + path
        status = httpx.get(url, timeout=_PATIENCE_S, verify=verify).status_code
    except CallsheetError as error:
        return Finding("servers", name, "fail", error.message, error.hint)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = absence(error)
        hint = f"`callsheet stack up` starts it; `callsheet stack logs {name}` says why not"
        if "certificate" in why:
            hint = f"name the file (PEM) of the authority that signed it in {variable}"
        return Finding("servers", name, "fail", f"{shown} does not answer: {why}", hint)
    return _answered(name, shown, status)


def _kafka() -> Finding:
    from callsheet.kafka.admin import KafkaTopics
    from callsheet.kafka.environment import BOOTSTRAP, connection

    if not os.environ.get(BOOTSTRAP):
        hint = f"`callsheet stack up`, or set {BOOTSTRAP}"
        return Finding("servers", "kafka", "warn", "no address is known", hint)
    try:
        brokers = connection(os.environ)
        # Any topic will do: that it is missing is an answer.
        KafkaTopics(brokers.common(), timeout_s=_PATIENCE_S).describe(["callsheet-connect-status"])
    except ConfigError as error:
        return Finding("servers", "kafka", "fail", error.message.rstrip("."), error.hint)
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
    try:
        files = load_all([folder])
    except CallsheetError as error:
        # A finding, so that what is wrong elsewhere is still said.
        yield from _faulty(folder, error)
        return
    survey = MysqlSurvey(os.environ)
    for file in files:
        yield from diagnose(survey, file)


def _faulty(folder: Path, error: CallsheetError) -> Iterator[Finding]:
    faults = error.faults if isinstance(error, ConfigError) else ()
    hint = error.hint or "edit the file; docs/capture.md says what is in one"
    for fault in faults:
        yield Finding("connectors", str(folder), "fail", str(fault), hint)
    if not faults:
        yield Finding("connectors", str(folder), "fail", error.message, hint)


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
