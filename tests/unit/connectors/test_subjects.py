"""The registry's rule for captured topics: one incompatible ALTER must not stop them all."""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest

from callsheet.errors import CallsheetError, PreconditionError, UnavailableError
from connectors.registry import accessible
from connectors.subjects import RegistrySubjects
from tests.support.certificates import a_certificate
from tests.unit.connectors.builders import a_connector

ENVIRON = {"CALLSHEET_REGISTRY_URL": "http://registry/apis/ccompat/v7"}
TOPIC = "studio.finance.titles"
URL = "value.converter.schema.registry.url"
USER_INFO = "value.converter.basic.auth.user.info"
OLD_USER_INFO = "value.converter.schema.registry.basic.auth.user.info"


def basic(pair: str) -> str:
    return f"Basic {b64encode(pair.encode()).decode()}"


def subjects(answer: Callable[[httpx.Request], httpx.Response]) -> RegistrySubjects:
    return RegistrySubjects(ENVIRON, httpx.MockTransport(answer))


def refused(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


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
    with pytest.raises(UnavailableError, match="does not answer"):
        subjects(refused).accept_any(a_connector(tmp_path), [TOPIC])


@pytest.mark.parametrize(
    "answer", [refused, lambda _: httpx.Response(503), lambda _: httpx.Response(401)]
)
def test_the_password_in_the_address_is_in_no_error(
    tmp_path: Path, answer: Callable[[httpx.Request], httpx.Response]
) -> None:
    url = {"CALLSHEET_REGISTRY_URL": "http://bob:s3cret@registry/v7"}
    registry = RegistrySubjects(url, httpx.MockTransport(answer))
    with pytest.raises(CallsheetError, match="http://registry/v7 ") as raised:
        registry.accept_any(a_connector(tmp_path), [TOPIC])
    assert "s3cret" not in f"{raised.value.message} {raised.value.hint}"


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({}, ""),
        ({URL: "https://bob:s3%40cret@registry"}, basic("bob:s3@cret")),
        ({USER_INFO: "${env:CALLSHEET_REGISTRY_USER_INFO}"}, basic("eve:pass:word")),
        (
            {OLD_USER_INFO: "${env:CALLSHEET_REGISTRY_USER_INFO}"},
            basic("eve:pass:word"),
        ),
        ({"value.converter.bearer.auth.token": "${env:CALLSHEET_REGISTRY_TOKEN}"}, "Bearer t0ken"),
    ],
)
def test_the_registry_is_asked_with_the_converters_credentials(
    tmp_path: Path, changes: Mapping[str, str], sent: str
) -> None:
    seen: list[str] = []

    def registry(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("Authorization", ""))
        assert not request.url.userinfo  # the client's log shows the address
        return httpx.Response(200, json={})

    environ = {
        **ENVIRON,
        "CALLSHEET_REGISTRY_USER_INFO": "eve:pass:word",
        "CALLSHEET_REGISTRY_TOKEN": "t0ken",
    }
    file = a_connector(tmp_path, changes)
    RegistrySubjects(environ, httpx.MockTransport(registry)).accept_any(file, [TOPIC])
    assert set(seen) == {sent}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({URL: "registry:8081"}, "no address"),
        ({URL: "bob:s3cret@registry"}, "no address"),
        ({URL: "http://bob:s3c/ret@registry"}, "no address"),
        ({URL: "http://bob:12/s3cret@registry"}, "no address"),
        ({USER_INFO: "${file:/run/secrets/registry:s3cret}"}, "only Connect can resolve"),
        ({USER_INFO: "${env:CALLSHEET_NOWHERE}"}, "CALLSHEET_NOWHERE"),
    ],
)
def test_what_the_registry_cannot_be_asked_with_is_said(
    tmp_path: Path, changes: Mapping[str, str], said: str
) -> None:
    with pytest.raises(PreconditionError, match=said) as raised:
        RegistrySubjects(ENVIRON).accept_any(a_connector(tmp_path, changes), [TOPIC])
    assert raised.value.hint
    assert "s3c" not in f"{raised.value.message} {raised.value.hint}"


def test_the_converters_truststore_is_believed(tmp_path: Path) -> None:
    name = "value.converter.schema.registry.ssl.truststore"
    trust = a_certificate(tmp_path, "registry").file
    config = a_connector(tmp_path, {f"{name}.location": str(trust), f"{name}.type": "PEM"}).config
    access = accessible(config, ENVIRON)
    assert access is not None
    assert isinstance(access.verify, ssl.SSLContext)
    assert len(access.verify.get_ca_certs()) == 1
    assert access.verify.verify_mode is ssl.CERT_REQUIRED


def test_a_java_truststore_leaves_the_well_known_authorities(tmp_path: Path) -> None:
    name = "value.converter.schema.registry.ssl.truststore.location"
    access = accessible(a_connector(tmp_path, {name: "/run/trust.jks"}).config, ENVIRON)
    assert access is not None
    assert access.verify is True


def test_an_authoritys_file_without_a_certificate_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    environ = {**ENVIRON, "SSL_CERT_FILE": str(tmp_path / "empty.pem")}
    with pytest.raises(PreconditionError, match="SSL_CERT_FILE"):
        RegistrySubjects(environ).accept_any(a_connector(tmp_path), [TOPIC])


def test_an_unknown_address_is_named(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="CALLSHEET_REGISTRY_URL"):
        RegistrySubjects({}).accept_any(a_connector(tmp_path), [TOPIC])
