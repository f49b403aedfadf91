"""A HiveServer2 that is not there, or not quite."""

from __future__ import annotations

import socket
import threading

import pytest

from callsheet.errors import RetryableError
from sinks.hive.hiveserver import HiveServer
from sinks.hive.settings import HiveServerSettings


def settings(port: int) -> HiveServerSettings:
    return HiveServerSettings(
        host="127.0.0.1", port=port, location="file:///audit", session_timeout_seconds=0.2
    )


def test_one_that_takes_the_connection_and_says_nothing_is_given_up_soon() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(RetryableError, match="does not answer: no answer in time"),
        HiveServer(settings(silent.getsockname()[1])),
    ):
        pytest.fail("there is no session")


def test_one_that_hangs_up_is_told_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(RetryableError) as raised, HiveServer(settings(port)):
            pytest.fail("there is no session")
        thread.join()
    assert "unexpected exception" not in raised.value.message


def test_one_that_is_not_there_refuses_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(RetryableError, match="refused"), HiveServer(settings(port)):
        pytest.fail("there is no session")
