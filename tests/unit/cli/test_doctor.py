"""`callsheet doctor` on a MySQL that is not fit, and on servers that are away."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner, Result

from callsheet.cli import doctor as module
from callsheet.errors import PreconditionError
from connectors.source import Compression, MysqlSource, SourceFacts, SourceTable
from tests.support.certificates import a_certificate
from tests.support.elastic_stub import ElasticStub
from tests.unit.connectors.builders import write_connector
from tests.unit.connectors.test_preflight import GOOD

PRECONDITION = 75


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Runs the command; of the servers only those that the test names are known."""
    for name in (
        "CONNECT_URL", "REGISTRY_URL", "ELASTICSEARCH_URL", "ELASTICSEARCH_CA_FILE",
        "KAFKA_BOOTSTRAP", "MYSQL_TLS_CA",
    ):  # fmt: skip
        monkeypatch.delenv(f"CALLSHEET_{name}", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("CALLSHEET_MYSQL_HOST", "127.0.0.1")
    monkeypatch.setenv("CALLSHEET_MYSQL_PORT", str(a_closed_port()))
    monkeypatch.setenv("CALLSHEET_CAPTURE_PASSWORD", "hunter2")
    monkeypatch.delenv("CALLSHEET_MYSQL_ADMIN_PASSWORD", raising=False)
    monkeypatch.setattr(module, "_machine", lambda: iter(()))  # has tests of its own, and asks apt
    file = write_connector(tmp_path)
    app = typer.Typer()
    app.command()(module.doctor)

    def run(*arguments: str, connectors: Path = file) -> Result:
        return CliRunner().invoke(app, ["--connectors", str(connectors), *arguments])

    return run


def a_closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def troubles(result: Result) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(result.stdout) if each["level"] == "fail"}


def shown(monkeypatch: pytest.MonkeyPatch, facts: SourceFacts | Exception) -> None:
    """MySQL says this of itself."""

    def of(_self: MysqlSource, _schemas: tuple[str, ...]) -> SourceFacts:
        if isinstance(facts, Exception):
            raise facts
        return facts

    monkeypatch.setattr(MysqlSource, "facts", of)
    monkeypatch.setattr(MysqlSource, "compression", lambda _self: Compression((), 0))


def with_variables(changes: Mapping[str, str]) -> SourceFacts:
    return replace(GOOD, variables={**GOOD.variables, **changes})


KEYLESS = (*GOOD.tables[1:], SourceTable("finance", "titles", "InnoDB", has_primary_key=False))
LESS = tuple(line.replace("REPLICATION CLIENT", "USAGE") for line in GOOD.grants)
BAD: dict[str, tuple[SourceFacts, str, str]] = {
    # facts, the finding, and what the message or the hint must name
    "no binlog": (with_variables({"log_bin": "OFF"}), "log_bin", "log_bin"),
    "statements": (with_variables({"binlog_format": "MIXED"}), "binlog_format", "ROW"),
    "half a row": (with_variables({"binlog_row_image": "MINIMAL"}), "binlog_row_image", "FULL"),
    "no gtid": (with_variables({"gtid_mode": "OFF"}), "gtid_mode", "ON"),
    "no key": (replace(GOOD, tables=KEYLESS), "tables without primary key", "finance.titles"),
    "a right": (replace(GOOD, grants=LESS), "grants of the capture user", "REPLICATION CLIENT"),
}


def test_a_fit_mysql_is_fit(look: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    shown(monkeypatch, GOOD)
    result = look("--json")
    assert result.exit_code == 0
    assert troubles(result) == {}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_mysql_is_named_with_what_to_set(
    look: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    facts, finding, word = BAD[name]
    shown(monkeypatch, facts)
    result = look("--json")
    assert result.exit_code == PRECONDITION
    found = troubles(result)
    assert found.keys() == {finding}
    assert word in f"{found[finding]['message']} {found[finding]['hint']}"
    assert found[finding]["hint"]
    people = look()
    assert people.exit_code == PRECONDITION
    assert "1 to mend" in people.stdout


def test_a_refused_account_is_a_finding(
    look: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(monkeypatch, PreconditionError("MySQL refuses the user.", hint="Look at the password."))
    found = troubles(look("--json"))
    assert found["connection"]["message"] == "MySQL refuses the user."


@pytest.mark.parametrize("name", ["connect", "registry", "elasticsearch"])
def test_servers_that_are_away_are_named_with_address_and_cause(
    look: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    url = f"http://127.0.0.1:{a_closed_port()}"
    monkeypatch.setenv(f"CALLSHEET_{name.upper()}_URL", url)
    result = look("--json")
    assert result.exit_code == PRECONDITION
    found = troubles(result)
    assert found.keys() == {name, "connection"}
    assert found[name]["message"] == f"{url} does not answer: connection refused"
    assert f"callsheet stack logs {name}" in found[name]["hint"]
    assert found["connection"]["message"].endswith("does not answer: connection refused.")
    assert "hunter2" not in result.output


@pytest.mark.parametrize("name", ["connect", "registry", "elasticsearch"])
@pytest.mark.parametrize("status", [None, 200, 401, 404])
def test_a_password_in_an_address_is_not_shown(
    look: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, name: str, status: int | None
) -> None:
    def answer(_url: str, **_: object) -> httpx.Response:
        if status is None:
            raise httpx.ConnectError("http://bob:s3cret@127.0.0.1:1")
        return httpx.Response(status)

    monkeypatch.setattr(httpx, "get", answer)
    monkeypatch.setenv(f"CALLSHEET_{name.upper()}_URL", "http://bob:s3cret@127.0.0.1:1")
    shown(monkeypatch, GOOD)
    for result in (look("--json"), look()):
        assert "http://127.0.0.1:1" in result.output.replace("\n", "")
        assert "s3cret" not in result.output
        assert "bob" not in result.output


@pytest.mark.parametrize("address", ["bob:s3cret@127.0.0.1:1", "ftp://bob:s3cret@127.0.0.1:1"])
def test_what_is_no_address_is_named_and_not_shown(
    look: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("CALLSHEET_CONNECT_URL", address)
    result = look("--json")
    assert "CALLSHEET_CONNECT_URL" in troubles(result)["connect"]["message"]
    assert "s3cret" not in result.output


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server with TLS, and who signed its certificate."""
    certificate = a_certificate(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    with ElasticStub(context) as stub:
        yield stub.url, certificate.file


def test_elasticsearchs_authority_is_believed(
    look: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, secured: tuple[str, Path]
) -> None:
    url, authority = secured
    monkeypatch.setenv("CALLSHEET_ELASTICSEARCH_URL", url)
    shown(monkeypatch, GOOD)
    stranger = troubles(look("--json"))["elasticsearch"]
    assert "certificate is not accepted" in stranger["message"]
    assert "CALLSHEET_ELASTICSEARCH_CA_FILE" in stranger["hint"]
    monkeypatch.setenv("CALLSHEET_ELASTICSEARCH_CA_FILE", str(authority))
    assert troubles(look("--json")) == {}


def test_an_authority_that_is_not_there_is_a_finding(
    look: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CALLSHEET_ELASTICSEARCH_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("CALLSHEET_ELASTICSEARCH_CA_FILE", str(tmp_path / "nowhere.pem"))
    found = troubles(look("--json"))["elasticsearch"]
    assert "CALLSHEET_ELASTICSEARCH_CA_FILE" in found["message"]


@pytest.mark.parametrize("kind", ["missing", "empty", "faulty", "no JSON"])
def test_faulty_connector_files_are_a_finding_beside_the_others(
    look: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "connectors"
    if kind != "missing":
        folder.mkdir()
    if kind == "faulty":
        write_connector(folder, {"tasks.max": "2", "read.only": "true"})
    if kind == "no JSON":
        (folder / "x.json").write_text("{")
    monkeypatch.setenv("CALLSHEET_CONNECT_URL", f"http://127.0.0.1:{a_closed_port()}")
    result = look("--json", connectors=folder)
    assert result.exit_code == PRECONDITION
    found = [each for each in json.loads(result.stdout) if each["area"] == "connectors"]
    assert len(found) == (2 if kind == "faulty" else 1)
    for each in found:
        assert each["level"] == "fail"
        assert each["hint"]
        assert each["message"]
    assert {"native", "kafka", "connect"} <= {each["name"] for each in json.loads(result.stdout)}


def test_an_absent_kafka_too(look: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    brokers = f"127.0.0.1:{a_closed_port()}"
    monkeypatch.setenv("CALLSHEET_KAFKA_BOOTSTRAP", brokers)
    monkeypatch.setattr(module, "_PATIENCE_S", 0.3)
    found = troubles(look("--json"))
    assert found["kafka"]["message"].startswith(f"Kafka at {brokers} does not answer")


def test_an_unset_variable_of_the_connector_is_a_finding(
    look: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CALLSHEET_CAPTURE_PASSWORD")
    assert "CALLSHEET_CAPTURE_PASSWORD" in troubles(look("--json"))["connection"]["message"]
