"""Reads schemas from a registry that speaks the Confluent API. Never writes to it."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
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
from callsheet.ports import Clock, Deadline, SystemClock

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
            RetryableError: the registry is away, or too slow.
            ConfigError: it refuses us.
        """
        ...

    def lookups(self) -> AbstractContextManager[None]:
        """Around all that one poll asks for: it has one deadline, and each id one answer."""
        ...


class SchemaRegistry:
    """A read-only client; an id is asked for once.

    Args:
        url: base address, for instance ``http://registry/apis/ccompat/v7``.
        basic: user and password.
        bearer_token: sent instead of ``basic``.
        verify: a TLS context with the CA and, where wanted, a client certificate.
        lookup_budget_s: for all lookups of one poll together. They are part of the time between two
            polls, whatever number of ids the records name and however slow each answer is.
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
        lookup_budget_s: float = 20.0,
        clock: Clock | None = None,
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
        self._timeouts_s = connect_timeout_s, read_timeout_s
        self._clock, self._budget_s = clock or SystemClock(), lookup_budget_s
        self._known: dict[int, RegisteredSchema] = {}
        self._versions: dict[tuple[str, int], Mapping[str, Any]] = {}
        self._unknown: dict[int, PoisonRecordError] = {}
        self._deadline: Deadline | None = None

    @contextmanager
    def lookups(self) -> Iterator[None]:
        """See :class:`Schemas`. A poll that ran out of time is decoded again: what was learnt
        stays, also of ids that nobody knows, until all of the poll is decoded. Then such an id may
        be asked for anew: it can be registered meanwhile.
        """
        self._deadline = Deadline.after(self._clock, self._budget_s)
        try:
            yield
        finally:
            self._deadline = None
        self._unknown.clear()

    def schema(self, identifier: int) -> RegisteredSchema:
        """See :class:`Schemas`."""
        known = self._known.get(identifier)
        if known is None:
            if identifier in self._unknown:
                raise self._unknown[identifier]
            try:
                known = self._asked(identifier)
            except PoisonRecordError as fault:
                self._unknown[identifier] = fault
                raise
            self._known[identifier] = known
        return known

    def _asked(self, identifier: int) -> RegisteredSchema:
        deadline = self._deadline or Deadline.after(self._clock, self._budget_s)
        answer = self._get(f"/schemas/ids/{identifier}", f"schema id {identifier}", deadline)
        return RegisteredSchema(
            identifier,
            str(answer.get("schemaType") or "AVRO"),
            _text_of(answer),
            tuple(self._references(answer, {}, deadline).values()),
        )

    def latest(self, subject: str) -> int | None:
        """The id that was registered last under a subject; None where there is none yet.

        Raises:
            RetryableError, ConfigError: as for :meth:`schema`.
        """
        deadline = Deadline.after(self._clock, self._budget_s)
        path = f"/subjects/{_quoted(subject)}/versions/latest"
        try:
            return int(self._get(path, f"the subject {subject}", deadline)["id"])
        except PoisonRecordError:
            return None

    def close(self) -> None:
        self._http.close()

    def _references(
        self, answer: Mapping[str, Any], found: dict[tuple[str, int], str], deadline: Deadline
    ) -> dict[tuple[str, int], str]:
        """Depth first, so that each comes after what it needs; each once, so that a cycle ends."""
        for reference in answer.get("references") or ():
            subject, version = str(reference["subject"]), int(reference["version"])
            if (subject, version) in found:
                continue
            inner = self._version(subject, version, deadline)
            found[subject, version] = ""  # marks it as being read
            self._references(inner, found, deadline)
            del found[subject, version]
            found[subject, version] = _text_of(inner)
        return found

    def _version(self, subject: str, version: int, deadline: Deadline) -> Mapping[str, Any]:
        known = self._versions.get((subject, version))
        if known is None:
            path = f"/subjects/{_quoted(subject)}/versions/{version}"
            known = self._get(path, f"{subject} version {version}", deadline)
            self._versions[subject, version] = known
        return known

    def _get(self, path: str, what: str, deadline: Deadline) -> Mapping[str, Any]:
        connect_s, read_s = (min(s, deadline.remaining_s()) for s in self._timeouts_s)
        if deadline.expired():
            raise self._late()
        try:
            with self._http.stream(
                "GET", path, timeout=httpx.Timeout(read_s, connect=connect_s)
            ) as response:
                body = bytearray()
                for piece in response.iter_bytes():  # a timeout is of one piece, not of all
                    body += piece
                    if deadline.expired():
                        raise self._late()
        except httpx.HTTPError as fault:
            raise RetryableError(
                f"the schema registry at {self._url} does not answer: {absence(fault)}",
                hint="is it running, and is source.registry.url right? `callsheet stack status`",
            ) from fault
        answer = _Answer(response.status_code, response.headers, bytes(body))
        if response.is_success:
            return _object(answer, what)
        raise _refusal(answer, what)

    def _late(self) -> RetryableError:
        return RetryableError(
            f"the schema registry at {self._url} is too slow: "
            f"{len(self._known)} schemas are known, and more are wanted",
            hint="what was answered is kept, the rest is asked for again; look at the registry",
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _object(answer: _Answer, what: str) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError as fault:
        raise RetryableError(
            f"the schema registry's answer for {what} is not JSON",
            hint="does the address lead to the Confluent API (Apicurio: /apis/ccompat/v7)?",
        ) from fault
    if not isinstance(found, dict):
        raise RetryableError(f"the schema registry's answer for {what} is no object")
    return found


def _text_of(answer: Mapping[str, Any]) -> str:
    text = answer.get("schema")
    if not isinstance(text, str):
        raise RetryableError("the schema registry's answer holds no schema")
    return text


def _refusal(answer: _Answer, what: str) -> Exception:
    """What a status means, as the error to raise."""
    status = answer.status
    message = _BEYOND_US.format(status=status, what=what)
    if status == httpx.codes.NOT_FOUND and _is_registry(answer):
        return PoisonRecordError(Reason.UNKNOWN_SCHEMA, f"the registry does not know {what}")
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return ConfigError(message, hint="check the registry's user, password or token")
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return ThrottledError(message, retry_after_s=_retry_after_s(answer))
    return RetryableError(message)


def _is_registry(answer: _Answer) -> bool:
    """A 404 of the registry itself names an error code; one from a wrong address or a proxy does
    not, and must not turn good records into dead letters.
    """
    try:
        found = answer.json()
    except ValueError:
        return False
    return isinstance(found, dict) and "error_code" in found


def _retry_after_s(answer: _Answer) -> float:
    try:
        return max(0.0, float(answer.headers.get("Retry-After", "1")))
    except ValueError:
        return 1.0
