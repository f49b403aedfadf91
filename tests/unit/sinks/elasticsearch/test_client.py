"""What a failed request means."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import certifi
import orjson
import pytest
from elastic_transport import (
    ApiError,
    ApiResponseMeta,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    SerializationError,
    TlsError,
)
from elastic_transport import (
    ConnectionError as UnreachableError,
)

from callsheet.errors import CallsheetError, ConfigError, FatalError, RetryableError, ThrottledError
from callsheet.ports import SystemClock
from sinks.elasticsearch.client import Json, RawBulk, connect, retry_after_s, translated
from sinks.elasticsearch.settings import ElasticsearchSettings

CERTIFI = Path(certifi.where())
NODE = NodeConfig("http", "localhost", 9200)


def api_error(status: int, body: Any = None, **headers: str) -> ApiError:
    meta = ApiResponseMeta(status, "1.1", HttpHeaders(headers), 0.1, NODE)
    return ApiError("failed", meta, body)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (api_error(400), FatalError),
        (api_error(401), FatalError),
        (api_error(403), FatalError),
        (api_error(429), RetryableError),
        (api_error(500), RetryableError),
        (api_error(503), RetryableError),
        (api_error(408), RetryableError),
        (UnreachableError("http://a:1 does not answer"), RetryableError),
        (ConnectionTimeout("http://a:1 does not answer"), RetryableError),
        (SerializationError("not JSON"), RetryableError),
        (TlsError("self-signed certificate"), FatalError),
    ],
)
def test_an_error_is_retryable_or_fatal(error: Any, kind: type[CallsheetError]) -> None:
    assert type(translated(error, SystemClock())) is kind


def test_a_throttle_says_for_how_long() -> None:
    found = translated(api_error(429, **{"retry-after": "7"}), SystemClock())
    assert isinstance(found, ThrottledError)
    assert found.retry_after_s == 7


def test_the_reason_is_the_servers() -> None:
    body = {"error": {"type": "t", "reason": "disk\n full"}}
    assert "t: disk full" in translated(api_error(503, body), SystemClock()).message


def test_a_certificate_that_is_not_trusted_says_what_to_set() -> None:
    assert "ca_file" in translated(TlsError("self-signed"), SystemClock()).hint


class Noon:
    def time(self) -> float:
        return datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("2.5", 2.5),
        ("-1", 0.0),
        ("99999", 300.0),
        ("soon", None),
        (format_datetime(datetime(2026, 1, 1, 12, 0, 9, tzinfo=UTC), usegmt=True), 9.0),
        (format_datetime(datetime(2026, 1, 1, 11, tzinfo=UTC), usegmt=True), 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, Noon()) == seconds


def test_a_bulk_body_passes_untouched() -> None:
    body = b"{}\n{}\n"
    assert RawBulk().dumps(body) is body
    with pytest.raises(TypeError):
        RawBulk().dumps(["{}"])


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_an_answer_that_all_were_written_is_counted(count: int) -> None:
    items = [{"index": {"status": 201 - n % 2}} for n in range(count)]
    answer = orjson.dumps({"errors": False, "items": items})
    found = Json().loads(answer)
    assert (found["errors"], len(found["items"])) == (False, count)
    assert isinstance(found["items"], range)


@pytest.mark.parametrize(
    "answer",
    [
        {"errors": True, "items": [{"index": {"status": 201}}, {"index": {"status": 409}}]},
        {"errors": False, "items": [{"index": {"status": 201}}, {"delete": {"status": 404}}]},
        {"errors": False, "items": [{"index": {"status": 201, "_id": "1"}}]},
        {"errors": False, "items": []},
        {"errors": False},
        {"acknowledged": True},
        {"items": [{"index": {"status": 201}}], "errors": False},
    ],
)
def test_any_other_answer_is_read_as_it_is(answer: dict[str, Any]) -> None:
    assert Json().loads(orjson.dumps(answer)) == answer


def over_tls(**tls: str) -> ElasticsearchSettings:
    return ElasticsearchSettings.model_validate({"hosts": ["https://es:1"], "tls": tls})


def test_relative_paths_start_at_the_configuration_folder(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls/ca.pem").write_bytes(CERTIFI.read_bytes())
    with connect(over_tls(ca_file="tls/ca.pem"), str(tmp_path)) as client:
        (node,) = client.transport.node_pool.all()
        assert node.config.ca_certs == str(tmp_path / "tls/ca.pem")
    with connect(over_tls(ca_file=str(CERTIFI)), str(tmp_path)) as client:
        (node,) = client.transport.node_pool.all()
        assert node.config.ca_certs == str(CERTIFI)


@pytest.mark.parametrize("tls", [("ca_file",), ("certificate_file", "key_file")])
def test_certificates_that_are_not_there_are_a_matter_of_the_file(
    tmp_path: Path, tls: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError, match="No such file") as caught:
        connect(over_tls(**dict.fromkeys(tls, "none.pem")), str(tmp_path))
    assert str(tmp_path / "none.pem") in caught.value.message
    assert "sink.tls" in caught.value.hint
