"""MySQL's certificate, as strictly as the connector's file and the environment say."""

from __future__ import annotations

import ssl
from pathlib import Path

import pymysql
import pytest

from callsheet.errors import PreconditionError, UnavailableError
from connectors.source import Address, MysqlSource
from connectors.survey import MysqlSurvey
from connectors.tls import MYSQL_CA, mysql_tls
from tests.support.certificates import a_certificate
from tests.unit.connectors.builders import a_connector
from tests.unit.connectors.test_preflight import ENVIRONMENT


@pytest.mark.parametrize(
    ("mode", "named", "verified", "host_too"),
    [
        ("required", False, False, False),
        ("verify_ca", False, True, False),
        ("verify_identity", False, True, True),
        ("disabled", True, True, True),
        ("preferred", True, True, True),
        ("required", True, True, True),
        ("verify_ca", True, True, False),
        ("verify_identity", True, True, True),
    ],
)
def test_who_is_believed(
    tmp_path: Path, mode: str, *, named: bool, verified: bool, host_too: bool
) -> None:
    ca = str(a_certificate(tmp_path, "mysql").file) if named else ""
    context = mysql_tls(mode, ca)
    assert context is not None
    assert context.verify_mode is (ssl.CERT_REQUIRED if verified else ssl.CERT_NONE)
    assert context.check_hostname is host_too


@pytest.mark.parametrize("mode", ["preferred", "disabled"])
def test_nobody_asked_for_it(mode: str) -> None:
    assert mysql_tls(mode, "") is None


def test_the_capture_users_and_the_administrators_password_go_to_a_verified_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, ssl.SSLContext] = {}

    def connect(**options: object) -> None:
        context = options["ssl"]
        assert isinstance(context, ssl.SSLContext)
        asked[str(options["user"])] = context
        raise pymysql.err.OperationalError(2003, "away")

    monkeypatch.setattr(pymysql, "connect", connect)
    environ = {
        **ENVIRONMENT,
        "CALLSHEET_MYSQL_ADMIN_PASSWORD": "root's",
        MYSQL_CA: str(a_certificate(tmp_path, "mysql").file),
    }
    file = a_connector(tmp_path, {"database.ssl.mode": "VERIFY_IDENTITY"})
    survey, address = MysqlSurvey(environ), Address.of(file.config, environ)
    with pytest.raises(UnavailableError):
        survey.findings(file)
    with pytest.raises(UnavailableError):
        survey._compression(address)
    assert asked.keys() == {"callsheet_capture", "root"}
    for context in asked.values():
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert len(context.get_ca_certs()) == 1


def test_a_certificate_that_is_not_accepted_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def connect(**_: object) -> None:
        refused = ssl.SSLCertVerificationError()
        refused.verify_message = "self-signed certificate"
        raise pymysql.err.OperationalError(2003, "no") from refused

    monkeypatch.setattr(pymysql, "connect", connect)
    with pytest.raises(UnavailableError, match="certificate is not accepted") as raised:
        MysqlSource(Address("db", 3306, "me", "hunter2", "verify_ca")).position()
    assert MYSQL_CA in raised.value.hint


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authoritys_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(PreconditionError, match=MYSQL_CA) as raised:
        mysql_tls("required", str(file))
    assert "PEM" in raised.value.hint
