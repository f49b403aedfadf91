"""A forwarder before a Kafka broker: clients that start here also stay here, and can be frozen."""

from __future__ import annotations

import socket
import struct

from tests.support.tcp_proxy import TcpProxy


class KafkaProxy(TcpProxy):
    """A broker tells its clients where it is, and they go there. In its answers this proxy puts
    its own port in place of the broker's: both are as long, so the answers stay whole.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(target)
        host = target[0].encode()
        self._told = host + struct.pack(">i", target[1])
        self._ours = host + struct.pack(">i", self.port)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        if source.getpeername() != self._target:
            super()._pump(source, sink)
            return
        with source.makefile("rb") as stream:
            while head := stream.read(4):
                (size,) = struct.unpack(">i", head)
                body = stream.read(size)
                if len(head) + len(body) < 4 + size:
                    raise ConnectionResetError("the broker ended in mid-answer")
                self._hold()
                sink.sendall(head + body.replace(self._told, self._ours))
