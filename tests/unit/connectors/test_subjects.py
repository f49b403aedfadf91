"""The registry's rule for captured topics: one incompatible ALTER must not stop them all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from callsheet.errors import PreconditionError, UnavailableError
from connectors.subjects import RegistrySubjects
from tests.unit.connectors.builders import a_connector

ENVIRON = {"CALLSHEET_REGISTRY_URL": "http://registry/apis/ccompat/v7"}
TOPIC = "studio.finance.titles"


def subjects(answer: Callable[[httpx.Request], httpx.Response]) -> RegistrySubjects:
    return RegistrySubjects(ENVIRON, httpx.MockTransport(answer))


def test_key_and_value_of_each_topic_take_any_schema(tmp_path: Path) -> None:
    asked: list[tuple[str, str, object]] = []

    def registry(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path, json.loads(request.content)))
        return httpx.Response(200, json={})

    subjects(registry).accept_any(a_connector(tmp_path), [TOPIC])
    rule = {"compatibility": "NONE"}
    assert asked == [
        ("PUT", f"/apis/ccompat/v7/config/{TOPIC}-key", rule),
        ("PUT", f"/apis/ccompat/v7/config/{TOPIC}-value", rule),
    ]


@pytest.mark.parametrize(
    ("status", "expected"), [(503, UnavailableError), (403, PreconditionError)]
)
def test_a_refusal_is_said(tmp_path: Path, status: int, expected: type[Exception]) -> None:
    registry = subjects(lambda _: httpx.Response(status))
    with pytest.raises(expected, match="schema registry"):
        registry.accept_any(a_connector(tmp_path), [TOPIC])


def test_an_absent_registry_is_unavailable(tmp_path: Path) -> None:
    def away(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(UnavailableError, match="does not answer"):
        subjects(away).accept_any(a_connector(tmp_path), [TOPIC])


def test_an_unknown_address_is_named(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="CALLSHEET_REGISTRY_URL"):
        RegistrySubjects({}).accept_any(a_connector(tmp_path), [TOPIC])
