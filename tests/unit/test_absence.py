"""What is said when a server does not answer: real clients at real addresses, a few words each."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pymysql
import pytest
from urllib3 import PoolManager

from callsheet.absence import absence


@contextmanager
def listener(answer: bytes | None) -> Iterator[int]:
    """A port that says this to whoever connects and hangs up; with None it says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                held.append(peer)
                if answer is not None:
                    with suppress(OSError):  # who asked may be gone by now
                        peer.sendall(answer)
                        peer.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for peer in held:
            peer.close()


@pytest.fixture
def nobody() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def by_httpx(url: str) -> str:
    with pytest.raises((httpx.TransportError, httpx.InvalidURL)) as caught:
        httpx.get(url, timeout=0.2, trust_env=False)
    return absence(caught.value)


def by_urllib3(url: str) -> str:
    with PoolManager(timeout=0.2, retries=False) as pool, pytest.raises(Exception) as caught:  # noqa: PT011  (each of its errors)
        pool.request("GET", url)
    return absence(caught.value)


@pytest.mark.parametrize("ask", [by_httpx, by_urllib3])
def test_http_clients_say_the_same(ask: type[str], nobody: int) -> None:
    assert ask(f"http://127.0.0.1:{nobody}/") == "connection refused"
    assert ask("http://nowhere.invalid/") == "the host name is unknown"
    with listener(None) as port:
        assert ask(f"http://127.0.0.1:{port}/") == "no answer in time"
    with listener(b"J\x00\x00\x00\n9.7.4") as port:
        assert "another protocol" in ask(f"http://127.0.0.1:{port}/")
        assert "no TLS" in ask(f"https://127.0.0.1:{port}/")


def test_an_address_that_is_none_is_said_to_be_none() -> None:
    assert by_httpx("elastic:9200") == "that is no http(s) address"


def test_the_mysql_client_too(nobody: int) -> None:
    with pytest.raises(pymysql.OperationalError) as caught:
        pymysql.connect(host="127.0.0.1", port=nobody, connect_timeout=1)
    assert absence(caught.value, "error 2003") == "connection refused"
    assert absence(pymysql.OperationalError(1040, "Too many"), "error 1040") == "error 1040"


def test_a_certificate_that_is_not_accepted_says_why() -> None:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_message = "self-signed certificate"
    assert absence(error) == "its certificate is not accepted, self-signed certificate"


def test_a_chain_that_bites_its_tail_ends() -> None:
    error = ValueError("odd")
    error.__context__ = KeyError(error)
    assert absence(error) == "ValueError"
