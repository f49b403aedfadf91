"""What a registry, or what answers in its place, may say to a schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from callsheet.codec.normalized_schema import event_schema
from callsheet.config.source import RegistrySettings
from callsheet.errors import ConfigError, ParkTableError, RetryableError
from callsheet.ports import Deadline
from sinks.kafka.subjects import Subjects
from tests.support.batches import a_schema
from tests.support.clock import FakeClock

EVENT = event_schema(a_schema())
REGISTERED = {"subject": "t-value", "version": 1, "id": 5, "schema": json.dumps(EVENT)}
PAGE = httpx.Response(200, html="<html>Sign in</html>")
Handler = Callable[[httpx.Request], httpx.Response]


def subjects(handler: Handler, url: str = "http://r") -> Subjects:
    settings = RegistrySettings(url=url)
    return Subjects(settings, verify=True, transport=httpx.MockTransport(handler))


def register(handler: Handler, deadline: Deadline | None = None) -> int:
    deadline = deadline or Deadline.after(FakeClock(), 10)
    return subjects(handler).register("studio.finance.titles", "t-value", EVENT, deadline)


def answers(**given: httpx.Response) -> Handler:
    """By method; of a registry that is well where nothing else is given."""
    well = {
        "GET": httpx.Response(200, json=REGISTERED),
        "PUT": httpx.Response(200, json={"compatibility": "BACKWARD"}),
        "POST": httpx.Response(200, json={"id": 5}),
    }
    return lambda request: {**well, **given}[request.method]


def test_the_id_is_the_registrys() -> None:
    assert register(answers()) == 5
    assert register(answers(GET=httpx.Response(404, json={"error_code": 40401}))) == 5


@pytest.mark.parametrize(
    "given",
    [
        {"GET": PAGE},
        {"GET": httpx.Response(200, json=[])},
        {"GET": httpx.Response(200, json={"status": "ok"})},
        {"GET": httpx.Response(200, json={"schema": 1})},
        {"PUT": PAGE},
        {"PUT": httpx.Response(200)},
        {"POST": PAGE},
        {"POST": httpx.Response(200, json="ok")},
        {"POST": httpx.Response(200, json={"status": "ok"})},
        {"POST": httpx.Response(200, json={"id": "five"})},
        {"POST": httpx.Response(200, content=b"\xff\xfe\x00")},
    ],
)
def test_what_answers_in_the_registrys_place_is_waited_out(
    given: Mapping[str, httpx.Response],
) -> None:
    with pytest.raises(RetryableError, match="is no schema registry") as raised:
        register(answers(**given))
    assert "sink.registry.url" in raised.value.hint
    assert "CALLSHEET_REGISTRY_URL" in raised.value.hint


@pytest.mark.parametrize(
    ("status", "reason"), [(409, "incompatible_schema"), (422, "invalid_schema")]
)
def test_a_schema_that_is_refused_parks_its_table_with_the_registrys_words(
    status: int, reason: str
) -> None:
    refused = httpx.Response(status, json={"error_code": status, "message": "no such name: a-b"})
    with pytest.raises(ParkTableError) as raised:
        register(answers(POST=refused))
    assert raised.value.topic == "studio.finance.titles"
    assert raised.value.reason == reason
    assert raised.value.detail == "t-value: no such name: a-b"
    assert "start the worker again" in raised.value.hint
    assert "{" not in raised.value.hint


def test_of_a_refusal_that_is_no_json_so_much_is_told() -> None:
    with pytest.raises(ParkTableError) as raised:
        register(answers(POST=httpx.Response(422, text="x" * 9_000)))
    assert len(raised.value.detail) == len("t-value: ") + 500


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_rule_that_is_refused_is_no_tables_fault(method: str) -> None:
    refused = httpx.Response(422, json={"error_code": 42203, "message": "Invalid level"})
    with pytest.raises(ConfigError, match="Invalid level"):
        register(answers(**{method: refused}))


@pytest.mark.parametrize("text", ['syntax = "proto3";', '"string"'])
def test_a_subject_of_somebody_else_parks_the_table(text: str) -> None:
    with pytest.raises(ParkTableError, match="no Avro record"):
        register(answers(GET=httpx.Response(200, json={**REGISTERED, "schema": text})))


@pytest.mark.parametrize("status", [401, 403])
def test_whoever_may_not_register_is_told_which_rights(status: int) -> None:
    with pytest.raises(ConfigError, match=str(status)) as raised:
        register(answers(POST=httpx.Response(status)))
    assert "allowed to register" in raised.value.hint


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_trouble_of_the_registry_is_waited_out(method: str) -> None:
    with pytest.raises(RetryableError, match="answers 503") as raised:
        register(answers(**{method: httpx.Response(503)}))
    assert raised.value.hint


def test_a_password_in_the_address_is_not_told() -> None:
    refusing = subjects(answers(POST=httpx.Response(503)), url="http://me:secret@r")
    with pytest.raises(RetryableError) as raised:
        refusing.register("t", "t-value", EVENT, Deadline.after(FakeClock(), 10))
    assert "secret" not in raised.value.message


def test_each_request_gets_what_those_before_it_have_left() -> None:
    clock, timeouts = FakeClock(), list[dict[str, float]]()

    def slow(request: httpx.Request) -> httpx.Response:
        timeouts.append(request.extensions["timeout"])
        clock.advance(4)
        return answers()(request)

    register(slow, Deadline.after(clock, 13))
    assert [(each["connect"], each["read"]) for each in timeouts] == [
        (5, 8),
        (4.5, 4.5),
        (2.5, 2.5),
    ]


def test_no_request_begins_behind_the_deadline() -> None:
    clock, asked = FakeClock(), list[str]()

    def slow(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        clock.advance(4)
        return answers()(request)

    with pytest.raises(RetryableError, match="too slow") as raised:
        register(slow, Deadline.after(clock, 8))
    assert asked == ["GET", "PUT"]
    assert raised.value.hint


def test_an_answer_in_drops_ends_at_the_deadline() -> None:
    clock = FakeClock()

    class Drops(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                clock.advance(1)
                yield b" "

    def dripping(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Drops())

    deadline = Deadline.after(clock, 5)
    with pytest.raises(RetryableError, match="too slow"):
        register(dripping, deadline)
    assert clock.monotonic() == deadline.at_s


def test_what_is_asked() -> None:
    asked = list[tuple[str, str, Any]]()

    def noting(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path, json.loads(request.content or b"null")))
        return answers()(request)

    register(noting)
    assert asked == [
        ("GET", "/subjects/t-value/versions/latest", None),
        ("PUT", "/config/t-value", {"compatibility": "BACKWARD"}),
        ("POST", "/subjects/t-value/versions", {"schema": json.dumps(EVENT), "schemaType": "AVRO"}),
    ]
