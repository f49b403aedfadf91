from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import httpx
import pytest

from callsheet.errors import (
    ConfigError,
    FatalError,
    PreconditionError,
    UnavailableError,
    UsageError,
)
from connectors.client import ConnectClient
from connectors.responses import (
    SourceOffset,
    State,
    Verdict,
    classify,
    parse_status,
    parse_validation,
)
from tests.unit.connectors.builders import FakeClock

REBALANCING = httpx.Response(
    409, json={"error_code": 409, "message": "Cannot complete request because of a conflicting "
               "operation (e.g. worker rebalance)"}
)  # fmt: skip


class Server:
    """Answers in turn, the last answer for ever; an exception is a failing connection."""

    def __init__(self, *answers: httpx.Response | type[httpx.TransportError]) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.clock = FakeClock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, httpx.Response):
            return answer
        raise answer("away", request=request)

    def client(self, **options: Any) -> ConnectClient:
        return ConnectClient(
            "http://user:hunter2@connect:8083",
            transport=httpx.MockTransport(self),
            clock=self.clock,
            random=Random(1),
            **options,
        )


def ok(body: object = None) -> httpx.Response:
    return httpx.Response(200, json=body) if body is not None else httpx.Response(204)


@pytest.mark.parametrize(
    ("status", "message", "verdict"),
    [
        (200, "", Verdict.OK),
        (204, "", Verdict.OK),
        (202, "", Verdict.OK),
        (404, "Connector nope not found", Verdict.MISSING),
        (409, "conflicting operation (e.g. worker rebalance)", Verdict.REBALANCING),
        (409, "Connector finance-mysql already exists", Verdict.REFUSED),
        (400, "Connectors must be in the STOPPED state", Verdict.REFUSED),
        (401, "", Verdict.FORBIDDEN),
        (503, "", Verdict.BUSY),
        (500, "Request timed out. The worker is currently ensuring membership", Verdict.BUSY),
        (500, "Cannot invoke ConfigValueInfo.errors()", Verdict.BROKEN),
    ],
)
def test_classify(status: int, message: str, verdict: Verdict) -> None:
    assert classify(status, message) is verdict


def test_rebalancing_is_waited_out_with_full_jitter() -> None:
    server = Server(REBALANCING, REBALANCING, REBALANCING, ok())
    server.client().pause("finance-mysql")
    assert len(server.requests) == 4
    assert [0 <= s <= 0.1 * 2**n for n, s in enumerate(server.clock.slept)] == [True] * 3
    assert len(set(server.clock.slept)) == 3


def test_a_restart_is_repeated_on_409_because_nothing_was_done() -> None:
    server = Server(REBALANCING, ok({"name": "finance-mysql"}))
    server.client().restart("finance-mysql")
    assert [request.method for request in server.requests] == ["POST", "POST"]
    assert dict(server.requests[0].url.params) == {"includeTasks": "true", "onlyFailed": "true"}


def test_a_restart_that_may_have_been_done_is_not_repeated() -> None:
    server = Server(httpx.ReadTimeout, ok())
    with pytest.raises(UnavailableError):
        server.client().restart("finance-mysql")
    assert len(server.requests) == 1


def test_a_restart_that_never_left_is_repeated() -> None:
    server = Server(httpx.ConnectError, ok({}))
    server.client().restart("finance-mysql")
    assert len(server.requests) == 2


@pytest.mark.parametrize("failing", [httpx.ConnectError, httpx.ReadTimeout, httpx.ReadError])
def test_reading_is_repeated_until_the_deadline(failing: type[httpx.TransportError]) -> None:
    server = Server(failing)
    with pytest.raises(UnavailableError) as caught:
        server.client(deadline_s=20).worker()
    assert sum(server.clock.slept) <= 20
    assert len(server.requests) > 5
    assert "hunter2" not in str(caught.value)
    assert "http://connect:8083" in caught.value.message


def test_a_rebalance_without_end_is_unavailable() -> None:
    server = Server(REBALANCING)
    with pytest.raises(UnavailableError, match="busy after 30 s"):
        server.client(deadline_s=30).put_config("finance-mysql", {})


def test_each_try_has_the_stated_timeouts_and_none_outlives_the_deadline() -> None:
    server = Server(REBALANCING)
    with pytest.raises(UnavailableError):
        server.client(deadline_s=90).worker()
    timeouts = [request.extensions["timeout"] for request in server.requests]
    assert (timeouts[0]["connect"], timeouts[0]["read"]) == (5.0, 60.0)
    assert timeouts[-1]["read"] < 5.0


@pytest.mark.parametrize(
    ("response", "error", "said"),
    [
        (httpx.Response(404, json={"message": "Connector x not found"}), PreconditionError, "x"),
        (httpx.Response(400, json={"message": "bad value"}), ConfigError, "bad value"),
        (httpx.Response(403), PreconditionError, "credentials"),
        (httpx.Response(500, json={"message": "NullPointerException"}), FatalError, "NullPointer"),
        (httpx.Response(200, text="<html>proxy</html>"), UnavailableError, "not Kafka Connect"),
    ],
)
def test_answers_become_our_errors(
    response: httpx.Response, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Server(response).client().topics("x")


def test_what_connect_says_is_redacted() -> None:
    def redact(text: str) -> str:
        return text.replace("s3cret", "***")

    refusal = httpx.Response(400, json={"message": "password s3cret is wrong"})
    with pytest.raises(ConfigError) as caught:
        Server(refusal).client(redact=redact).put_config("x", {})
    assert "s3cret" not in caught.value.message
    body = {
        "name": "x",
        "connector": {"state": "RUNNING", "worker_id": "w"},
        "tasks": [{"id": 0, "state": "FAILED", "worker_id": "w", "trace": "with s3cret"}],
    }
    status = Server(ok(body)).client(redact=redact).status("x")
    assert status is not None
    assert status.traces == ("with ***",)


@pytest.mark.parametrize(
    ("read", "empty"),
    [
        (lambda c: c.status("x"), None),
        (lambda c: c.config("x"), None),
        (lambda c: c.offsets("x"), ()),
        (lambda c: c.delete("x"), None),
    ],
)
def test_absence_is_an_answer(read: Callable[[ConnectClient], object], empty: object) -> None:
    assert read(Server(httpx.Response(404, json={"message": "no"})).client()) == empty


def calls() -> Iterator[Any]:
    offset = SourceOffset({"server": "studio"}, {"pos": 4})
    put, post, patch, delete = "PUT", "POST", "PATCH", "DELETE"
    base = "/connectors/a%2Fb"
    yield pytest.param(lambda c: c.put_config("a/b", {"k": "v"}), put, f"{base}/config", {"k": "v"})
    yield pytest.param(lambda c: c.pause("a/b"), put, f"{base}/pause", None)
    yield pytest.param(lambda c: c.resume("a/b"), put, f"{base}/resume", None)
    yield pytest.param(lambda c: c.stop("a/b"), put, f"{base}/stop", None)
    yield pytest.param(lambda c: c.delete("a/b"), delete, base, None)
    yield pytest.param(lambda c: c.reset_offsets("a/b"), delete, f"{base}/offsets", None)
    yield pytest.param(
        lambda c: c.alter_offsets("a/b", [offset]), patch, f"{base}/offsets",
        {"offsets": [{"partition": {"server": "studio"}, "offset": {"pos": 4}}]},
    )  # fmt: skip
    yield pytest.param(
        lambda c: c.create_stopped("a/b", {"k": "v"}), post, "/connectors",
        {"name": "a/b", "config": {"k": "v"}, "initial_state": "STOPPED"},
    )  # fmt: skip


@pytest.mark.parametrize(("call", "method", "path", "body"), list(calls()))
def test_requests_on_the_wire(
    call: Callable[[ConnectClient], object], method: str, path: str, body: object
) -> None:
    server = Server(ok())
    call(server.client())
    (request,) = server.requests
    assert (request.method, request.url.raw_path.decode()) == (method, path)
    assert (json.loads(request.content) if request.content else None) == body


def test_a_status_with_its_traces() -> None:
    status = parse_status(
        {
            "name": "finance-mysql",
            "connector": {"state": "RUNNING", "worker_id": "a:8083"},
            "tasks": [
                {"id": 1, "state": "SLEEPING", "worker_id": "a:8083"},
                {"id": 0, "state": "FAILED", "worker_id": "a:8083", "trace": "boom"},
            ],
            "type": "source",
        }
    )
    assert status.failed
    assert not status.running
    assert status.traces == ("boom",)
    assert [task.state for task in status.tasks] == [State.FAILED, State.UNKNOWN]


def test_a_connector_without_a_task_does_not_run() -> None:
    status = parse_status(
        {"name": "x", "connector": {"state": "RUNNING", "worker_id": "w"}, "tasks": []}
    )
    assert not status.running


def test_a_validation_survives_the_holes_that_connect_leaves_in_it() -> None:
    # Recorded from Kafka Connect 4.3 with Debezium 3.6: either half of an entry may be null.
    found = parse_validation(
        {
            "configs": [
                {"definition": {"name": "internal.legacy.snapshot.max.threads"}, "value": None},
                {"definition": None, "value": {"name": "odd", "errors": ["is odd"]}},
                {
                    "definition": {"name": "poll.interval.ms"},
                    "value": {"name": "poll.interval.ms", "errors": ["A long value is expected"]},
                },
                {"definition": {"name": "a"}, "value": {"name": "a", "errors": []}},
            ]
        }
    )  # fmt: skip
    assert found.faults == {"odd": ("is odd",), "poll.interval.ms": ("A long value is expected",)}
    assert "internal.legacy.snapshot.max.threads" in found.known


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout])
def test_the_password_in_connects_address_is_in_no_error(
    error: type[httpx.TransportError],
) -> None:
    with pytest.raises(UnavailableError, match="http://connect:8083 does") as raised:
        Server(error).client().worker()
    assert "hunter2" not in f"{raised.value.message} {raised.value.hint}"


def test_an_address_that_is_none_is_named_and_not_shown() -> None:
    with pytest.raises(UsageError, match="CALLSHEET_CONNECT_URL") as raised:
        ConnectClient("http://bob:hun/ter2@connect")
    assert "hun" not in f"{raised.value.message} {raised.value.hint}"
