"""The loopback ports of a stack."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import psutil

from callsheet.errors import PreconditionError, UsageError

HOST = "127.0.0.1"
# Below the kernel's range for outgoing connections (32768 on), which takes ports at any moment.
_AUTO_FIRST, _AUTO_LAST = 20_000, 32_000


@dataclass(frozen=True, slots=True)
class Ports:
    """One port per listener; the defaults are each server's own, moved up by 10,000."""

    mysql: int = 13306
    kafka: int = 19092
    kafka_controller: int = 19093
    registry: int = 18081
    registry_management: int = 18082
    connect: int = 18083
    elasticsearch: int = 19200
    elasticsearch_transport: int = 19300
    hive: int = 20000
    namenode: int = 18020
    webhdfs: int = 19870
    datanode: int = 19866
    datanode_http: int = 19864
    datanode_ipc: int = 19867

    def __post_init__(self) -> None:
        """Raises:
        ValueError: what is said in a file is no port.
        """
        for name, port in self.as_dict().items():
            if not 0 < port <= 65_535:
                raise ValueError(f"{name}: {port} is no port")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The listeners' names, in the order in which ``from_base`` numbers them."""
        return tuple(each.name for each in fields(cls))

    @classmethod
    def from_base(cls, base: int) -> Ports:
        """Consecutive ports from ``base`` on."""
        if not 1024 <= base <= 65535 - len(cls.names()):
            last = 65535 - len(cls.names())
            raise UsageError(f"A stack's ports cannot start at {base}.", hint=f"1024 to {last}.")
        return cls(**{name: base + index for index, name in enumerate(cls.names())})

    @classmethod
    def free(cls) -> Ports:
        """Consecutive ports that nothing listens on now."""
        step = 20
        bases = list(range(_AUTO_FIRST, _AUTO_LAST, step))
        random.shuffle(bases)  # stacks started at the same moment must not try the same ports
        for base in bases:
            ports = cls.from_base(base)
            if all(is_free(port) for port in ports.as_dict().values()):
                return ports
        raise PreconditionError(
            f"There is no run of {len(cls.names())} free ports from {_AUTO_FIRST} to {_AUTO_LAST}.",
            hint="End what listens there (`ss -ltn` lists it), or choose others: "
            "callsheet stack up --port-base N",
        )

    def as_dict(self) -> dict[str, int]:
        """By listener."""
        return {name: getattr(self, name) for name in self.names()}

    def with_ports(self, given: Mapping[str, int]) -> Ports:
        """Some of them changed, by name."""
        if unknown := sorted(set(given) - set(self.names())):
            raise UsageError(
                f"There is no port named {', '.join(unknown)}.",
                hint=f"The ports are {', '.join(self.names())}.",
            )
        return replace(self, **given)

    def require_distinct(self) -> None:
        """Two servers cannot share a port."""
        taken: dict[int, str] = {}
        for name, port in self.as_dict().items():
            if port in taken:
                raise UsageError(f"Port {port} is given to both {taken[port]} and {name}.")
            taken[port] = name


def is_free(port: int) -> bool:
    """Could a server listen there now? Connections of a stopped one (TIME_WAIT) do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def require_free(name: str, port: int) -> None:
    """Raise, naming who holds the port, unless it is free."""
    if is_free(port):
        return
    raise PreconditionError(
        f"Port {port} for {name} is taken{_holder(port)}.",
        hint=f"Stop that process, or choose another port: callsheet stack up --port {name}=PORT "
        "(or --port-base N to move them all).",
    )


def _holder(port: int) -> str:
    """Which process listens there, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""
