"""`CALLSHEET_MYSQL_TLS_CA`: TLS to MySQL, with its certificate and host name verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from callsheet.errors import UnavailableError
from finance.database import Account, Role, open_engine, translated
from stack import Stack
from tests.support.certificates import Certificate, a_certificate
from tests.support.second_mysql import a_second_mysql

CIPHER = sa.text("SHOW SESSION STATUS LIKE 'Ssl_cipher'")


@dataclass(frozen=True, slots=True)
class Server:
    """A MySQL with a certificate of its own."""

    port: int
    certificate: Certificate

    def environ(self, **more: str) -> Mapping[str, str]:
        given = {"CALLSHEET_MYSQL_PORT": str(self.port), "CALLSHEET_MYSQL_ADMIN_PASSWORD": ""}
        return {**given, **more}


@pytest.fixture(scope="module")
def server(live_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tls")
    made = a_certificate(folder, "mysql")
    options = (f"--ssl-ca={made.file}", f"--ssl-cert={made.file}", f"--ssl-key={made.key}")
    with a_second_mysql(live_stack, folder, *options) as mysql:
        yield Server(mysql.port, made)


def cipher(environ: Mapping[str, str]) -> str:
    """What the session is encrypted with; empty for one in clear."""
    account = Account.from_environment(environ, Role.ADMIN).without_database()
    engine = open_engine(account)
    try:
        with translated(account), engine.connect() as connection:
            return str(connection.execute(CIPHER).one()[1])
    finally:
        engine.dispose()


def test_with_the_right_authority_the_session_is_encrypted(server: Server) -> None:
    assert cipher(server.environ(CALLSHEET_MYSQL_TLS_CA=str(server.certificate.file)))
    # Unset: encrypted where the server offers it, and whose certificate it is nobody asks.
    assert cipher(server.environ(CALLSHEET_MYSQL_HOST="localhost"))


def test_a_certificate_of_another_authority_is_refused(server: Server, tmp_path: Path) -> None:
    other = a_certificate(tmp_path, "other")
    with pytest.raises(UnavailableError, match="certificate is not accepted"):
        cipher(server.environ(CALLSHEET_MYSQL_TLS_CA=str(other.file)))


def test_a_certificate_for_another_host_is_refused(server: Server) -> None:
    environ = server.environ(
        CALLSHEET_MYSQL_TLS_CA=str(server.certificate.file), CALLSHEET_MYSQL_HOST="localhost"
    )
    with pytest.raises(UnavailableError, match="certificate is not accepted"):
        cipher(environ)
