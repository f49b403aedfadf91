"""The one client, and what its errors mean to us."""

from __future__ import annotations

import ssl
from base64 import b64encode
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

from elastic_transport import (
    ApiError,
    BaseNode,
    ConnectionTimeout,
    NodeConfig,
    TlsError,
    TransportError,
    Urllib3HttpNode,
)
from elastic_transport import (
    ConnectionError as UnreachableError,
)
from elastic_transport._node import NodeApiResponse
from elastic_transport.client_utils import DEFAULT, url_to_node_config
from elasticsearch import Elasticsearch
from elasticsearch.serializer import OrjsonSerializer
from urllib3 import Timeout

from callsheet.absence import absence
from callsheet.errors import CallsheetError, ConfigError, FatalError, RetryableError, ThrottledError
from callsheet.ports import Clock
from sinks.elasticsearch.settings import ElasticsearchSettings, TlsSettings

_BUSY: Final = frozenset({408, 429, 502, 503, 504})
_MAX_RETRY_AFTER_S: Final = 300.0


class RawBulk(OrjsonSerializer):
    """Lets bulk bodies through untouched: they are bytes already, line by line."""

    mimetype = "application/vnd.elasticsearch+x-ndjson"

    def dumps(self, data: Any) -> bytes:
        if not isinstance(data, bytes):
            raise TypeError("a bulk body is bytes")
        return data


_BEGIN: Final = b'{"errors":false,"items":['
_WRITTEN: Final = b'{"index":{"status":20'


class Json(OrjsonSerializer):
    """A bulk answer that says only "written" is counted: an object per document costs more than
    sending it did. Its ``items`` is then a sequence of that length and nothing more.
    """

    mimetype = "application/vnd.elasticsearch+json"

    def json_loads(self, data: bytes) -> Any:
        if data.startswith(_BEGIN):
            written = data.count(_WRITTEN)
            # As long as so many such items with their commas and the end: it holds nothing else.
            if len(data) == len(_BEGIN) + written * (len(_WRITTEN) + len(b"1}},")) + len(b"}"):
                return {"errors": False, "items": range(written)}
        return super().json_loads(data)


class PatientNode(Urllib3HttpNode):
    """A node that gives up connecting soon and reading late.

    elastic_transport knows a single timeout; a server that is gone should be noticed at once, while
    one that works on a large request deserves patience.
    """

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self._connect_timeout_s: float = config._extras["connect_timeout_s"]  # noqa: SLF001 - the documented place for a node class' own settings

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Any = None,
        request_timeout: Any = DEFAULT,
    ) -> NodeApiResponse:
        read = self.config.request_timeout if request_timeout is DEFAULT else request_timeout
        connect = self._connect_timeout_s if read is None else min(self._connect_timeout_s, read)
        timeout: Any = Timeout(connect=connect, read=read)
        try:
            return super().perform_request(method, target, body, headers, timeout)
        except TransportError as error:
            # Only here is it known which of the hosts it was.
            message = f"{self.base_url} does not answer: {absence(error)}"
            raise type(error)(message, error.errors) from error


def connect(settings: ElasticsearchSettings, config_dir: str = "") -> Elasticsearch:
    """A client that never retries by itself: the lanes know what may be repeated, and when.

    ``config_dir``: where relative paths start; if empty, at the working directory.

    Raises:
        ConfigError: a certificate's file cannot be read, or holds none.
    """
    folder = Path(config_dir)
    _require_certificates(settings.tls, folder)
    node_class: type[BaseNode] = PatientNode
    options: dict[str, Any] = {}
    if settings.api_key is not None:
        options["api_key"] = settings.api_key.get_secret_value()
    if settings.username is not None and settings.password is not None:
        # Encoded here: the client takes ASCII only when it does so itself.
        pair = f"{settings.username}:{settings.password.get_secret_value()}"
        options["basic_auth"] = b64encode(pair.encode()).decode("ascii")
    return Elasticsearch(
        [_node(settings, host, folder) for host in settings.hosts],
        node_class=node_class,
        serializers={
            RawBulk.mimetype: RawBulk(),
            Json.mimetype: Json(),
            "application/json": OrjsonSerializer(),
        },
        max_retries=0,
        retry_on_timeout=False,
        dead_node_backoff_factor=0.1,
        max_dead_node_backoff=5.0,
        **options,
    )


def _require_certificates(tls: TlsSettings, folder: Path) -> None:
    """The client looks at them when it connects, and says then that the server does not answer."""
    try:
        if tls.ca_file is not None:
            ssl.create_default_context(cafile=folder / tls.ca_file)
        if tls.certificate_file is not None and tls.key_file is not None:
            context = ssl.create_default_context()
            context.load_cert_chain(folder / tls.certificate_file, folder / tls.key_file)
    except OSError as error:  # ssl.SSLError is one
        files = (tls.ca_file, tls.certificate_file, tls.key_file)
        named = ", ".join(str(folder / file) for file in files if file is not None)
        raise ConfigError(
            f"the certificates for Elasticsearch cannot be read ({named}): "
            f"{error.strerror or error}",
            hint="look at sink.tls in the pipeline file (`callsheet search` takes "
            "CALLSHEET_ELASTICSEARCH_CA_FILE); relative paths start at the configuration folder",
        ) from error


def _node(settings: ElasticsearchSettings, host: str, folder: Path) -> NodeConfig:
    tls = settings.tls
    options: dict[str, Any] = {
        "connections_per_node": settings.lanes + 2,
        "request_timeout": settings.request_timeout_seconds,
        "_extras": {"connect_timeout_s": settings.connect_timeout_seconds},
    }
    if tls.ca_file is not None:
        options["ca_certs"] = str(folder / tls.ca_file)
    if tls.fingerprint_sha256 is not None:
        options["ssl_assert_fingerprint"] = tls.fingerprint_sha256
    if tls.certificate_file is not None and tls.key_file is not None:
        options["client_cert"] = str(folder / tls.certificate_file)
        options["client_key"] = str(folder / tls.key_file)
    return url_to_node_config(host, use_default_ports_for_scheme=True).replace(**options)


def translated(error: ApiError | TransportError, clock: Clock) -> CallsheetError:
    """What a failed request means: away, throttled, or nothing that waiting will mend.

    A `TransportError`'s message starts with the address, as `PatientNode` writes it.
    """
    if isinstance(error, ApiError):
        return _of_status(error, clock)
    if isinstance(error, TlsError):
        return FatalError(
            f"Elasticsearch at {_plain(error.message)}",
            hint="set sink.tls.ca_file to the CA that signed its certificate, or "
            "sink.tls.fingerprint_sha256; write http:// if it speaks no TLS",
        )
    if isinstance(error, UnreachableError | ConnectionTimeout):
        return RetryableError(
            f"Elasticsearch at {_plain(error.message)}",
            hint="is it running? `callsheet stack status`",
        )
    return RetryableError(f"the answer of Elasticsearch is not readable: {_plain(error.message)}")


def _of_status(error: ApiError, clock: Clock) -> CallsheetError:
    status, said = error.meta.status, reason_of(error)
    if status in {401, 403}:
        word = "does not know us" if status == 401 else "forbids us this"
        return FatalError(
            f"Elasticsearch {word}: {said}",
            hint="check sink.api_key or sink.username and password; docs/elasticsearch.md lists "
            "the privileges that are needed",
        )
    if status in _BUSY:
        wait = retry_after_s(error.meta.headers.get("retry-after"), clock)
        message = f"Elasticsearch is overloaded or starting (HTTP {status}): {said}"
        return RetryableError(message) if wait is None else _throttled(message, wait)
    if status >= 500:
        return RetryableError(f"Elasticsearch failed (HTTP {status}): {said}")
    return FatalError(
        f"Elasticsearch refuses the request (HTTP {status}): {said}",
        hint="this is a defect of Callsheet or a setting of the server; the offsets are kept",
    )


def _throttled(message: str, wait_s: float) -> ThrottledError:
    return ThrottledError(message, retry_after_s=wait_s)


def retry_after_s(header: str | None, clock: Clock) -> float | None:
    """Seconds that a ``Retry-After`` asks for: a number, or a date. None where it says nothing."""
    if not header:
        return None
    try:
        wait = float(header)
    except ValueError:
        try:
            wait = parsedate_to_datetime(header).timestamp() - clock.time()
        except ValueError:
            return None
    return min(max(0.0, wait), _MAX_RETRY_AFTER_S)


def reason_of(error: ApiError) -> str:
    """The server's ``type: reason`` of a whole request; it speaks of names, never of row values."""
    body: Any = error.body
    if isinstance(body, dict):
        detail = body.get("error")
        if isinstance(detail, dict):
            return _plain(f"{detail.get('type')}: {detail.get('reason')}")
        if isinstance(detail, str):
            return _plain(detail)
    return error.message if isinstance(error.message, str) else type(error).__name__


def _plain(text: object) -> str:
    return " ".join(str(text).split())[:500]
