"""Reads schemas from a registry that speaks the Confluent API. Never writes to it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpx

from callsheet.absence import absence
from callsheet.errors import (
    ConfigError,
    PoisonRecordError,
    Reason,
    RetryableError,
    ThrottledError,
)

_ACCEPT: Final = "application/vnd.schemaregistry.v1+json, application/json"
_BEYOND_US: Final = "the schema registry answers {status} for {what}"


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """One schema by its id. ``references`` are the texts of the schemas that it names, each after
    those that it itself needs.
    """

    identifier: int
    kind: str
    text: str
    references: tuple[str, ...] = ()


class Schemas(Protocol):
    """Where writers' schemas come from."""

    def schema(self, identifier: int) -> RegisteredSchema:
        """The schema with this id; the same one for ever, so it may be kept.

        Raises:
            PoisonRecordError: UNKNOWN_SCHEMA, nobody registered this id.
            RetryableError: the registry is away.
            ConfigError: it refuses us.
        """
        ...


class SchemaRegistry:
    """A read-only client; an id is asked for once.

    Args:
        url: base address, for instance ``http://registry/apis/ccompat/v7``.
        basic: user and password.
        bearer_token: sent instead of ``basic``.
        verify: a TLS context with the CA and, where wanted, a client certificate.
        transport: for tests.
    """

    def __init__(  # noqa: PLR0913 - one argument per way to reach a server
        self,
        url: str,
        *,
        basic: tuple[str, str] | None = None,
        bearer_token: str | None = None,
        verify: ssl.SSLContext | bool = True,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float = 10.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = str(httpx.URL(url).copy_with(userinfo=b"")).rstrip("/")
        headers = {"Accept": _ACCEPT}
        if bearer_token:
            headers["Authorization"] = f"Bearer {bearer_token}"
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            headers=headers,
            auth=None if basic is None or bearer_token else httpx.BasicAuth(*basic),
            verify=verify,
            timeout=httpx.Timeout(read_timeout_s, connect=connect_timeout_s),
            transport=transport,
        )
        self._known: dict[int, RegisteredSchema] = {}

    def schema(self, identifier: int) -> RegisteredSchema:
        """See :class:`Schemas`."""
        known = self._known.get(identifier)
        if known is None:
            answer = self._get(f"/schemas/ids/{identifier}", f"schema id {identifier}")
            known = RegisteredSchema(
                identifier,
                str(answer.get("schemaType") or "AVRO"),
                _text_of(answer),
                tuple(self._references(answer, {}).values()),
            )
            self._known[identifier] = known
        return known

    def close(self) -> None:
        self._http.close()

    def _references(
        self, answer: Mapping[str, Any], found: dict[tuple[str, int], str]
    ) -> dict[tuple[str, int], str]:
        """Depth first, so that each comes after what it needs; each once, so that a cycle ends."""
        for reference in answer.get("references") or ():
            subject, version = str(reference["subject"]), int(reference["version"])
            if (subject, version) in found:
                continue
            path = f"/subjects/{_quoted(subject)}/versions/{version}"
            inner = self._get(path, f"{subject} version {version}")
            found[subject, version] = ""  # marks it as being read
            self._references(inner, found)
            del found[subject, version]
            found[subject, version] = _text_of(inner)
        return found

    def _get(self, path: str, what: str) -> Mapping[str, Any]:
        try:
            response = self._http.get(path)
        except httpx.HTTPError as fault:
            raise RetryableError(
                f"the schema registry at {self._url} does not answer: {absence(fault)}",
                hint="is it running, and is source.registry.url right? `callsheet stack status`",
            ) from fault
        if response.is_success:
            return _object(response, what)
        raise _refusal(response, what)


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _object(response: httpx.Response, what: str) -> Mapping[str, Any]:
    try:
        answer = response.json()
    except ValueError as fault:
        raise RetryableError(
            f"the schema registry's answer for {what} is not JSON",
            hint="does the address lead to the Confluent API (Apicurio: /apis/ccompat/v7)?",
        ) from fault
    if not isinstance(answer, dict):
        raise RetryableError(f"the schema registry's answer for {what} is no object")
    return answer


def _text_of(answer: Mapping[str, Any]) -> str:
    text = answer.get("schema")
    if not isinstance(text, str):
        raise RetryableError("the schema registry's answer holds no schema")
    return text


def _refusal(response: httpx.Response, what: str) -> Exception:
    """What a status means, as the error to raise."""
    status = response.status_code
    message = _BEYOND_US.format(status=status, what=what)
    if status == httpx.codes.NOT_FOUND and _is_registry(response):
        return PoisonRecordError(Reason.UNKNOWN_SCHEMA, f"the registry does not know {what}")
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return ConfigError(message, hint="check the registry's user, password or token")
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return ThrottledError(message, retry_after_s=_retry_after_s(response))
    return RetryableError(message)


def _is_registry(response: httpx.Response) -> bool:
    """A 404 of the registry itself names an error code; one from a wrong address or a proxy does
    not, and must not turn good records into dead letters.
    """
    try:
        answer = response.json()
    except ValueError:
        return False
    return isinstance(answer, dict) and "error_code" in answer


def _retry_after_s(response: httpx.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("Retry-After", "1")))
    except ValueError:
        return 1.0
