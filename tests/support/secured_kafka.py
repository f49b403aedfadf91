"""A Kafka of a test's own that takes clients by TLS and password only, as the stack starts one."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from callsheet.kafka.settings import Connection
from stack import Ports
from stack.ports import HOST
from stack.server import Site
from stack.servers.kafka import Kafka
from tests.support.certificates import Certificate, a_certificate
from tests.support.stack import a_stack_of_its_own
from tests.support.tcp_proxy import TcpProxy

USER: Final = "callsheet"
PASSWORD: Final = "open sesame, it's me"
_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"
_PLAIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule"


class _SecuredKafka(Kafka):
    """The stack's own, with one listener more: the other is for its probe, and to make the user."""

    def __init__(self, certificate: Certificate) -> None:
        self._certificate = certificate

    @staticmethod
    def port(ports: Ports) -> int:
        return ports.connect  # Connect does not run in this stack

    def listeners(self, ports: Ports) -> Mapping[str, int]:
        return {**super().listeners(ports), "secured": self.port(ports)}

    def prepare(self, site: Site) -> None:
        super().prepare(site)
        # Kafka wants both in one file: the key first, as PKCS #8.
        store = site.home / "broker.pem"
        store.touch(0o600)
        store.write_bytes(self._certificate.key.read_bytes() + self._certificate.file.read_bytes())
        settings = site.home / "server.properties"
        settings.write_text(self._secured(settings.read_text("utf-8"), site, store), "utf-8")

    def _secured(self, plain: str, site: Site, store: Path) -> str:
        address, listener = f"SECURED://{HOST}:{self.port(site.ports)}", "listener.name.secured"
        found = dict(line.split("=", 1) for line in plain.splitlines())
        for name in ("listeners", "advertised.listeners"):
            found[name] += f",{address}"
        found["listener.security.protocol.map"] += ",SECURED:SASL_SSL"
        found |= {
            "inter.broker.listener.name": "PLAINTEXT",
            f"{listener}.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            f"{listener}.scram-sha-512.sasl.jaas.config": f"{_SCRAM} required;",
            f"{listener}.plain.sasl.jaas.config": (f'{_PLAIN} required user_{USER}="{PASSWORD}";'),
            f"{listener}.ssl.keystore.type": "PEM",
            f"{listener}.ssl.keystore.location": str(store),
        }
        return "".join(f"{name}={value}\n" for name, value in found.items())


@dataclass(frozen=True, slots=True)
class Secured:
    """``address`` is that of the secured listener; ``plain``: of one for everybody."""

    address: str
    plain: str
    ca_file: Path
    password: str = PASSWORD
    mechanism: str = "SCRAM-SHA-512"

    def but(self, **other: object) -> Secured:
        return replace(self, **other)  # type: ignore[arg-type]

    @property
    def properties(self) -> dict[str, str]:
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": self.mechanism,
            "sasl.username": USER,
            "sasl.password": self.password,
            "ssl.ca.location": str(self.ca_file),
        }

    @property
    def connection(self) -> Connection:
        return Connection(self.address, self.properties)


@contextmanager
def a_secured_kafka(folder: Path) -> Iterator[Secured]:
    """Its user is known by SCRAM and by PLAIN."""
    made = a_certificate(folder, "broker")
    with ExitStack() as held:
        stack = a_stack_of_its_own(held, "secured-")
        held.callback(stack.down, purge=True)
        server = _SecuredKafka(made)
        stack._servers = {**stack._servers, "kafka": server}
        stack.up(["kafka"], ports=Ports.free())
        plain = server.address(stack.ports)
        _add_user(plain)
        yield Secured(f"{HOST}:{server.port(stack.ports)}", plain, made.file)


def _add_user(bootstrap: str) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted = UserScramCredentialUpsertion(USER, info, PASSWORD.encode())
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.alter_user_scram_credentials([wanted]).values():
        future.result(30)


class CuttingProxy(TcpProxy):
    """Breaks each connection off after so many pieces of what the client says."""

    def __init__(self, target: tuple[str, int], pieces: int) -> None:
        super().__init__(target)
        self._pieces = pieces

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        if source.getpeername() == self._target:
            super()._pump(source, sink)
            return
        for _ in range(self._pieces):
            sink.sendall(source.recv(1 << 16))
        source.recv(1 << 16)
        raise ConnectionResetError("cut")
