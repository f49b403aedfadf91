"""A TCP forwarder that a test can freeze or slow: connections stay open, little moves."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class TcpProxy:
    """Listens on a free local port and forwards to ``target``; use as a context manager.

    ``delay_s``: how long each piece of data (up to 64 KiB) is held, in both directions. Who
    connects while the target is away is refused, as it would be there.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.delay_s = 0.0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = threading.Event()
        self._sockets: list[socket.socket] = []

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def freeze(self) -> None:
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._flowing.set()
        for each in [self._listener, *self._sockets]:
            _end(each)
            each.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            self._pump(source, sink)
            sink.shutdown(socket.SHUT_WR)
        except OSError:  # one of them was killed: the other must hear of it
            _end(source)
            _end(sink)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        """Until ``source`` has said all; raises OSError when either side breaks off."""
        while data := source.recv(1 << 16):
            self._hold()
            sink.sendall(data)

    def _hold(self) -> None:
        self._flowing.wait()
        if self.delay_s:
            self._closed.wait(self.delay_s)


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
