"""/livez, /readyz, /metrics and /status, for whoever watches."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence

import msgspec
import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from callsheet.errors import PreconditionError
from callsheet.runtime import WorkerState

States = Callable[[], Sequence[WorkerState]]


def application(states: States, registry: CollectorRegistry) -> Starlette:
    """The answers are JSON; 503 when any worker is not live, or not ready. Of one pipeline alone
    below ``/livez/NAME`` and ``/readyz/NAME``.
    """

    async def livez(request: Request) -> Response:
        return _verdict(_asked(states(), request), lambda state: state.is_live)

    async def readyz(request: Request) -> Response:
        return _verdict(_asked(states(), request), lambda state: state.is_ready)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def status(_: Request) -> Response:
        return _json(list(states()))

    routes = {
        "/livez": livez,
        "/livez/{pipeline}": livez,
        "/readyz": readyz,
        "/readyz/{pipeline}": readyz,
        "/metrics": metrics,
        "/status": status,
    }
    return Starlette(routes=[Route(path, answer) for path, answer in routes.items()])


def _asked(states: Sequence[WorkerState], request: Request) -> list[WorkerState]:
    """Raises HTTPException: there is no such pipeline."""
    pipeline = request.path_params.get("pipeline")
    found = [state for state in states if pipeline in {None, state.pipeline}]
    if pipeline is not None and not found:
        raise HTTPException(404, f"no pipeline {pipeline}")
    return found


def _verdict(states: Sequence[WorkerState], is_well: Callable[[WorkerState], bool]) -> Response:
    said = {f"{s.pipeline}/{s.worker}": s.detail for s in states}
    all_well = bool(states) and all(map(is_well, states))
    return _json({"ok": all_well, "workers": said}, 200 if all_well else 503)


def _json(data: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(data), status, media_type="application/json")


def bound_socket(host: str, port: int) -> socket.socket:
    """Listening already, so that a taken port is known before any worker starts.

    Raises:
        PreconditionError: it is taken, or not ours to take.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise PreconditionError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="another `callsheet run`? Choose another with http.port in the pipeline file, "
            "or --http HOST:PORT",
        ) from error
    return listener


class HttpServer:
    """Serves from a thread of its own until :meth:`stop`."""

    def __init__(self, listener: socket.socket, app: Starlette) -> None:
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="http", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(5.0)
