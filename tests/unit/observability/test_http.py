from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from callsheet.errors import PreconditionError
from callsheet.observability.http import HttpServer, application, bound_socket
from callsheet.runtime import WorkerState


def a_state(
    *, live: bool = True, ready: bool = True, worker: int = 0, pipeline: str = "search"
) -> WorkerState:
    return WorkerState(pipeline, worker, 1, live, ready, "delivering", 0)


class Served:
    def __init__(self) -> None:
        self.states = [a_state()]
        self.registry = CollectorRegistry()
        listener = bound_socket("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        self.server = HttpServer(listener, application(lambda: self.states, self.registry))

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False, timeout=10)


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    found.server.start()
    yield found
    found.server.stop()


def test_all_workers_must_be_well(served: Served) -> None:
    assert served.get("/livez").status_code == served.get("/readyz").status_code == 200
    served.states = [a_state(), a_state(ready=False, worker=1)]
    assert served.get("/livez").status_code == 200
    answer = served.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ok": False,
        "workers": {"search/0": "delivering", "search/1": "delivering"},
    }
    served.states = [a_state(live=False)]
    assert served.get("/livez").status_code == 503
    served.states = []
    assert served.get("/readyz").status_code == 503


def test_one_pipeline_is_asked_for_alone(served: Served) -> None:
    served.states = [a_state(), a_state(pipeline="audit", live=False, ready=False)]
    assert (
        served.get("/livez/search").status_code == served.get("/readyz/search").status_code == 200
    )
    assert served.get("/readyz/search").json()["workers"] == {"search/0": "delivering"}
    assert served.get("/livez/audit").status_code == served.get("/readyz/audit").status_code == 503
    assert served.get("/readyz").status_code == 503
    assert served.get("/readyz/replica").status_code == 404


def test_metrics_and_status(served: Served) -> None:
    Counter("seen_events", "text", registry=served.registry).inc(5)
    answer = served.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "seen_events_total 5.0" in answer.text
    (state,) = json.loads(served.get("/status").text)
    assert (state["pipeline"], state["pid"], state["is_ready"]) == ("search", 1, True)
    assert served.get("/").status_code == 404


def test_a_taken_port_is_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PreconditionError, match=f"cannot listen on 127.0.0.1:{port}"):
            bound_socket("127.0.0.1", port)
