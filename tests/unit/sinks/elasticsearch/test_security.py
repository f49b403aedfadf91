"""TLS with a CA of one's own, API keys and basic authentication, on a real socket."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from callsheet.errors import FatalError
from callsheet.ports import Deadline, SystemClock
from tests.support.batches import a_batch, a_schema, upsert
from tests.support.certificates import Certificate, a_certificate
from tests.support.elastic import COLUMNS, a_sink
from tests.support.elastic_stub import ElasticStub


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return a_certificate(tmp_path_factory.mktemp("tls"), "search")


@pytest.fixture
def stub(certificate: Certificate) -> Iterator[ElasticStub]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    with ElasticStub(context) as stub:
        yield stub


def write_one(stub: ElasticStub, **settings: Any) -> None:
    sink = a_sink(stub.url, **settings)
    try:
        sink.open()
        deadline = Deadline.after(SystemClock(), 10)
        sink.write(a_batch([upsert(1, name="x")], a_schema(*COLUMNS)), deadline)
        sink.flush(deadline)
    finally:
        sink.close()


@pytest.mark.parametrize(
    ("settings", "signed"),
    [
        ({"api_key": "a2V5"}, "ApiKey a2V5"),
        ({"username": "me", "password": "pässword"}, "Basic bWU6cMOkc3N3b3Jk"),
        ({}, None),
    ],
)
def test_every_request_is_signed(
    stub: ElasticStub, certificate: Certificate, settings: dict[str, Any], signed: str | None
) -> None:
    write_one(stub, tls={"ca_file": certificate.file}, **settings)
    assert stub.authorizations == {signed}
    assert stub.live("finance-titles").keys() == {"1"}


def test_a_fingerprint_is_enough(stub: ElasticStub, certificate: Certificate) -> None:
    write_one(stub, tls={"fingerprint_sha256": certificate.fingerprint})
    assert stub.live("finance-titles").keys() == {"1"}


def test_a_certificate_of_somebody_else_is_refused_with_what_to_set(
    stub: ElasticStub, tmp_path: Path
) -> None:
    other = a_certificate(tmp_path, "other")
    for tls in ({}, {"ca_file": other.file}, {"fingerprint_sha256": other.fingerprint}):
        with pytest.raises(FatalError, match="certificate") as raised:
            write_one(stub, tls=tls, api_key="secret")
        assert "sink.tls.ca_file" in raised.value.hint
    assert stub.authorizations == set(), "no secret was sent"
