from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from callsheet.errors import PreconditionError, UsageError
from stack.ports import HOST, Ports, is_free, require_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_base_numbers_them_all() -> None:
    ports = Ports.from_base(30_000).as_dict()
    assert list(ports.values()) == list(range(30_000, 30_000 + len(Ports.names())))


@pytest.mark.parametrize("base", [0, 80, 65_535])
def test_an_impossible_base_is_refused(base: int) -> None:
    with pytest.raises(UsageError):
        Ports.from_base(base)


def test_free_ports_are_free_and_outside_the_kernels_own_range() -> None:
    ports = Ports.free().as_dict().values()
    assert all(is_free(port) for port in ports)
    assert max(ports) < 32_768


def test_no_free_ports_anywhere_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.ports.is_free", lambda _: False)
    with pytest.raises(PreconditionError, match="no run of 14 free ports") as caught:
        Ports.free()
    assert "--port-base" in caught.value.hint


def test_single_ports_can_be_changed_by_name() -> None:
    assert Ports().with_ports({"kafka": 1234}).kafka == 1234
    with pytest.raises(UsageError, match="kafak") as caught:
        Ports().with_ports({"kafak": 1234})
    assert "kafka_controller" in caught.value.hint


def test_two_servers_cannot_share_a_port() -> None:
    with pytest.raises(UsageError, match="both mysql and kafka"):
        Ports().with_ports({"mysql": 5000, "kafka": 5000}).require_distinct()


def test_a_taken_port_names_its_holder_and_the_way_out(taken: int) -> None:
    assert not is_free(taken)
    with pytest.raises(PreconditionError) as caught:
        require_free("kafka", taken)
    assert f"Port {taken} for kafka is taken by" in caught.value.message
    assert f"pid {os.getpid()}" in caught.value.message
    assert "--port kafka=PORT" in caught.value.hint


def test_a_port_whose_server_has_just_ended_is_free() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((HOST, port)) as client:
            connection, _ = server.accept()
            connection.close()  # the server's side closes first: that side keeps TIME_WAIT
            client.recv(1)
    assert is_free(port)
    require_free("kafka", port)
