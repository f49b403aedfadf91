"""Registers the schemas of our events, each subject under BACKWARD."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx

from callsheet.absence import absence
from callsheet.config.source import RegistrySettings
from callsheet.errors import ConfigError, ParkTableError, RetryableError
from callsheet.ports import Deadline
from sinks.kafka.drift import drift

RULE: Final = "BACKWARD"
"""Readers with the new schema read what was written under the old one."""

_READ_S: Final = 10.0
_CONNECT_S: Final = 5.0
_LEAST_S: Final = 0.05
_DETAIL_CHARACTERS: Final = 500
_HINT: Final = "is it running, and is sink.registry.url right? `callsheet stack status`"
_ADDRESS_HINT: Final = (
    "is sink.registry.url (CALLSHEET_REGISTRY_URL) the registry's own address, its path included "
    "(Apicurio: /apis/ccompat/v7), or does a proxy answer there?"
)
_READERS_HINT: Final = (
    "readers of {subject} could not read on: give the table a new topic (sink.routes), "
    "or agree with them and register the schema by hand; then start the worker again"
)
_INVALID_HINT: Final = (
    "change in the table what the registry names, or keep it out by the pipeline's field rules "
    "(docs/fields.md); is it an Avro registry? Then start the worker again"
)


class Subjects:
    """A Confluent-compatible registry, as a writer of schemas.

    Args:
        settings: its address and who we are.
        verify: a TLS context, or True for the system's.
        transport: for tests.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        *,
        verify: ssl.SSLContext | bool,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        user, password, token = settings.username, settings.password, settings.bearer_token
        self._url = str(httpx.URL(settings.url).copy_with(userinfo=b"")).rstrip("/")
        self._http = httpx.Client(
            base_url=settings.url.rstrip("/"),
            headers={"Authorization": f"Bearer {token.get_secret_value()}"} if token else {},
            auth=httpx.BasicAuth(user, password.get_secret_value()) if user and password else None,
            verify=verify,
            transport=transport,
        )

    def register(
        self, topic: str, subject: str, schema: Mapping[str, Any], deadline: Deadline
    ) -> int:
        """Returns the schema's id; the same one whoever registers it, and however often.

        Raises:
            ParkTableError: for ``topic``; readers of what is there could not read on, or the
                registry takes no such schema.
            RetryableError: the registry is away, or something else answers in its place.
            ConfigError: it refuses us.
        """
        name = quote(subject, safe="")
        latest = self._get(f"/subjects/{name}/versions/latest", deadline)
        if latest is not None and (change := drift(self._event(latest, topic, subject), schema)):
            raise _parked(topic, subject, change)
        self._put(f"/config/{name}", {"compatibility": RULE}, deadline)
        body = {"schema": json.dumps(schema), "schemaType": "AVRO"}
        return self._post(f"/subjects/{name}/versions", body, deadline, parks=(topic, subject))

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str, deadline: Deadline) -> Mapping[str, Any] | None:
        """None where there is no such thing."""
        answer = self._ask("GET", path, None, deadline)
        if answer.status == httpx.codes.NOT_FOUND:
            return None
        return self._object(answer)

    def _put(self, path: str, body: Mapping[str, Any], deadline: Deadline) -> None:
        self._object(self._ask("PUT", path, body, deadline))

    def _post(
        self, path: str, body: Mapping[str, Any], deadline: Deadline, *, parks: tuple[str, str]
    ) -> int:
        answer = self._ask("POST", path, body, deadline)
        # Either is about this one schema: the other tables go on.
        if answer.status == httpx.codes.CONFLICT:
            raise _parked(*parks, answer.reason())
        if answer.status == httpx.codes.UNPROCESSABLE_ENTITY:
            raise _parked(*parks, answer.reason(), because="invalid_schema", hint=_INVALID_HINT)
        identifier = self._object(answer).get("id")
        if not isinstance(identifier, int):
            raise self._foreign(answer.what)
        return identifier

    def _event(self, latest: Mapping[str, Any], topic: str, subject: str) -> Mapping[str, Any]:
        """The schema that was registered last, whoever did it."""
        text = latest.get("schema")
        if not isinstance(text, str):
            raise self._foreign(f"the latest version of {subject}")
        try:
            event = json.loads(text)
        except ValueError:  # Protobuf's are no JSON
            event = None
        if not isinstance(event, dict):
            raise _parked(topic, subject, "what is registered there is no Avro record")
        return event

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, deadline: Deadline
    ) -> _Answer:
        try:
            with self._http.stream(
                method, path, json=body, timeout=self._timeout(deadline)
            ) as response:
                read = bytearray()
                for piece in response.iter_bytes():  # a timeout is of one piece, not of all
                    read += piece
                    if deadline.expired():
                        raise self._late()
        except httpx.HTTPError as fault:
            raise RetryableError(
                f"the schema registry at {self._url} does not answer: {absence(fault)}", hint=_HINT
            ) from fault
        return _Answer(f"{method} {path}", response.status_code, bytes(read))

    def _timeout(self, deadline: Deadline) -> httpx.Timeout:
        """To connect and to read, together no longer than what is left."""
        if deadline.expired():
            raise self._late()
        left_s = max(_LEAST_S, deadline.remaining_s())
        connect_s = min(_CONNECT_S, left_s / 2)
        return httpx.Timeout(min(_READ_S, left_s - connect_s), connect=connect_s)

    def _late(self) -> RetryableError:
        return RetryableError(
            f"the schema registry at {self._url} is too slow: no schema is registered in time",
            hint="the write is tried again; look at the registry",
        )

    def _object(self, answer: _Answer) -> Mapping[str, Any]:
        if not 200 <= answer.status < 300:
            raise self._refusal(answer)
        found = answer.json()
        if not isinstance(found, dict):
            raise self._foreign(answer.what)
        return found

    def _foreign(self, what: str) -> RetryableError:
        return RetryableError(
            f"what answers at {self._url} for {what} is no schema registry", hint=_ADDRESS_HINT
        )

    def _refusal(self, answer: _Answer) -> Exception:
        text = f"the schema registry at {self._url} answers {answer.status} to {answer.what}"
        if answer.status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return ConfigError(
                text, hint="this account must be allowed to register schemas and set their rule"
            )
        if answer.status == httpx.codes.UNPROCESSABLE_ENTITY:
            return ConfigError(f"{text}: {answer.reason()}", hint="is it an Avro registry?")
        return RetryableError(text, hint=_HINT)


@dataclass(frozen=True, slots=True)
class _Answer:
    what: str
    status: int
    body: bytes

    def json(self) -> Any:
        """None if it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def reason(self) -> str:
        """The registry's own words; they speak of schemas, never of values."""
        found = self.json()
        text = found.get("message") if isinstance(found, dict) else None
        return str(text or self.body.decode(errors="replace"))[:_DETAIL_CHARACTERS]


def _parked(
    topic: str,
    subject: str,
    why: str,
    *,
    because: str = "incompatible_schema",
    hint: str = _READERS_HINT,
) -> ParkTableError:
    return ParkTableError(topic, because, f"{subject}: {why}", hint=hint.format(subject=subject))
