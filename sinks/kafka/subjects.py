"""Registers the schemas of our events, each subject under BACKWARD."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx

from callsheet.absence import absence
from callsheet.config.source import RegistrySettings
from callsheet.errors import ConfigError, ParkTableError, RetryableError
from sinks.kafka.drift import drift

RULE: Final = "BACKWARD"
"""Readers with the new schema read what was written under the old one."""

_TIMEOUT: Final = httpx.Timeout(10.0, connect=5.0)
_DETAIL_CHARACTERS: Final = 500
_HINT: Final = "is it running, and is sink.registry.url right? `callsheet stack status`"


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
        self._url = settings.url.rstrip("/")
        self._http = httpx.Client(
            base_url=self._url,
            headers={"Authorization": f"Bearer {token.get_secret_value()}"} if token else {},
            auth=httpx.BasicAuth(user, password.get_secret_value()) if user and password else None,
            verify=verify,
            timeout=_TIMEOUT,
            transport=transport,
        )

    def register(self, topic: str, subject: str, schema: Mapping[str, Any]) -> int:
        """Returns the schema's id; the same one whoever registers it, and however often.

        Raises:
            ParkTableError: for ``topic``; readers of what is there could not read on.
            RetryableError: the registry is away.
            ConfigError: it refuses us.
        """
        name = quote(subject, safe="")
        latest = self._ask("GET", f"/subjects/{name}/versions/latest", absent_is_none=True)
        if latest is not None and (change := drift(json.loads(latest["schema"]), schema)):
            raise _parked(topic, subject, change)
        self._ask("PUT", f"/config/{name}", {"compatibility": RULE})
        body = {"schema": json.dumps(schema), "schemaType": "AVRO"}
        answer = self._ask("POST", f"/subjects/{name}/versions", body, parks=(topic, subject))
        return int((answer or {})["id"])

    def close(self) -> None:
        self._http.close()

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        absent_is_none: bool = False,
        parks: tuple[str, str] | None = None,
    ) -> dict[str, Any] | None:
        try:
            response = self._http.request(method, path, json=body)
        except httpx.HTTPError as fault:
            raise RetryableError(
                f"the schema registry at {self._url} does not answer: {absence(fault)}", hint=_HINT
            ) from fault
        if response.is_success:
            return dict(response.json())
        if response.status_code == httpx.codes.NOT_FOUND and absent_is_none:
            return None
        if response.status_code == httpx.codes.CONFLICT and parks:
            raise _parked(*parks, _reason(response))
        raise self._refusal(response, f"{method} {path}")

    def _refusal(self, response: httpx.Response, what: str) -> Exception:
        text = f"the schema registry at {self._url} answers {response.status_code} to {what}"
        if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return ConfigError(
                text, hint="this account must be allowed to register schemas and set their rule"
            )
        if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            return ConfigError(f"{text}: {_reason(response)}", hint="is it an Avro registry?")
        return RetryableError(text, hint=_HINT)


def _parked(topic: str, subject: str, why: str) -> ParkTableError:
    return ParkTableError(
        topic,
        "incompatible_schema",
        f"{subject}: {why}",
        hint=f"readers of {subject} could not read on: give the table a new topic (sink.routes), "
        "or agree with them and register the schema by hand; then start the worker again",
    )


def _reason(response: httpx.Response) -> str:
    """The registry's own words; they speak of schemas, never of values."""
    try:
        answer = response.json()
    except ValueError:
        return response.text[:_DETAIL_CHARACTERS]
    text = answer.get("message") if isinstance(answer, dict) else None
    return str(text or response.text)[:_DETAIL_CHARACTERS]
