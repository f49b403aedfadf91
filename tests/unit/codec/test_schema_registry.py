"""The registry's answers, and what each means for the records that wait for it."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from callsheet.codec.schema_registry import SchemaRegistry
from callsheet.errors import (
    ConfigError,
    PoisonRecordError,
    Reason,
    RetryableError,
    ThrottledError,
)

URL = "http://registry.test/apis/ccompat/v7"


class Server:
    """Answers by path and keeps what it was asked."""

    def __init__(self, answers: dict[str, httpx.Response | Exception]) -> None:
        self.answers = answers
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers[request.url.raw_path.decode().removeprefix("/apis/ccompat/v7")]
        if isinstance(answer, Exception):
            raise answer
        return answer


def registry(server: Callable[[httpx.Request], httpx.Response], **access: object) -> SchemaRegistry:
    return SchemaRegistry(URL, transport=httpx.MockTransport(server), **access)  # type: ignore[arg-type]


def answer(
    status: int = 200, headers: dict[str, str] | None = None, **body: object
) -> httpx.Response:
    return httpx.Response(status, json=body, headers=headers)


def test_a_schema_is_fetched_once() -> None:
    server = Server({"/schemas/ids/7": answer(schema='"int"')})
    client = registry(server)

    assert client.schema(7) is client.schema(7)
    assert (client.schema(7).kind, client.schema(7).text) == ("AVRO", '"int"')
    assert len(server.asked) == 1


def test_references_come_before_those_that_name_them() -> None:
    def reference(subject: str) -> dict[str, object]:
        return {"name": subject, "subject": subject, "version": 3}

    server = Server(
        {
            "/schemas/ids/7": answer(schema='"t"', references=[reference("a/b"), reference("c")]),
            "/subjects/a%2Fb/versions/3": answer(schema='"ab"', references=[reference("c")]),
            "/subjects/c/versions/3": answer(schema='"c"', references=[reference("a/b")]),
        }
    )

    assert registry(server).schema(7).references == ('"c"', '"ab"')


def test_access_is_sent() -> None:
    server = Server(
        {"/schemas/ids/1": answer(schema='"int"'), "/schemas/ids/2": answer(schema="1")}
    )
    registry(server, basic=("ann", "secret")).schema(1)
    registry(server, bearer_token="token").schema(2)

    assert [request.headers["Authorization"] for request in server.asked] == [
        "Basic YW5uOnNlY3JldA==",
        "Bearer token",
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (httpx.ConnectError("refused"), RetryableError),
        (httpx.ReadTimeout("slow"), RetryableError),
        (answer(500), RetryableError),
        (answer(503), RetryableError),
        (answer(429, {"Retry-After": "7"}), ThrottledError),
        (answer(401), ConfigError),
        (answer(403), ConfigError),
        (answer(404, error_code=40403), PoisonRecordError),
        (httpx.Response(404, text="<html>no such page</html>"), RetryableError),
        (answer(404), RetryableError),
        (httpx.Response(200, text="<html>a login page</html>"), RetryableError),
        (httpx.Response(200, json=["a list"]), RetryableError),
        (answer(200), RetryableError),
    ],
)
def test_what_an_answer_means(given: httpx.Response | Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught:
        registry(Server({"/schemas/ids/7": given})).schema(7)

    assert type(caught.value) is expected


def test_trouble_is_not_remembered() -> None:
    server = Server({"/schemas/ids/7": answer(503)})
    client = registry(server)
    with pytest.raises(RetryableError):
        client.schema(7)
    server.answers["/schemas/ids/7"] = answer(schema='"int"')

    assert json.loads(client.schema(7).text) == "int"


def test_an_unknown_id_and_a_wait_say_so() -> None:
    with pytest.raises(PoisonRecordError) as unknown:
        registry(Server({"/schemas/ids/7": answer(404, error_code=40403)})).schema(7)
    with pytest.raises(ThrottledError) as throttled:
        registry(Server({"/schemas/ids/7": answer(429, {"Retry-After": "7"})})).schema(7)
    with pytest.raises(ThrottledError) as unclear:
        registry(Server({"/schemas/ids/7": answer(429, {"Retry-After": "soon"})})).schema(7)

    assert unknown.value.reason is Reason.UNKNOWN_SCHEMA
    assert (throttled.value.retry_after_s, unclear.value.retry_after_s) == (7.0, 1.0)


def test_secrets_are_in_no_error() -> None:
    client = registry(Server({"/schemas/ids/7": answer(401)}), basic=("ann", "hunter2"))
    with pytest.raises(ConfigError) as caught:
        client.schema(7)

    assert "hunter2" not in f"{caught.value}{caught.value.hint}"
