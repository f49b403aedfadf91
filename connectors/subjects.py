"""What the schema registry asks of the captured topics' schemas: nothing.

Under the registry's usual BACKWARD rule, one incompatible ALTER makes the registry refuse the
table's next schema, the converter raise, and the connector's only task fail: every table stands
still for one. The log of changes has to take each change as it is; whether a store can follow is
judged behind it, table by table (docs/adr/0007). So the subjects of captured topics take any
schema, and all others keep the registry's rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

import httpx

from callsheet.absence import absence
from callsheet.errors import PreconditionError, UnavailableError
from connectors.files import ConnectorFile
from connectors.registry import Access, accessible

_ANY: Final = "NONE"
_TIMEOUT: Final = httpx.Timeout(20.0, connect=5.0)
_HINT: Final = "Is it up (`callsheet stack status`)? Its address is CALLSHEET_REGISTRY_URL."
_CERTIFICATE_HINT: Final = (
    "Name its authority: SSL_CERT_FILE, or a PEM truststore in the connector's file "
    "(docs/capture.md)."
)


class Subjects(Protocol):
    """The registry's rules; `RegistrySubjects` is the real one."""

    def accept_any(self, file: ConnectorFile, topics: Iterable[str]) -> None:
        """Let the connector's topics change their schemas in any way."""
        ...


class RegistrySubjects:
    """A Confluent-compatible registry, the one that the connector's own converter uses."""

    def __init__(
        self, environ: Mapping[str, str], transport: httpx.BaseTransport | None = None
    ) -> None:
        self._environ, self._transport = environ, transport

    def accept_any(self, file: ConnectorFile, topics: Iterable[str]) -> None:
        """Idempotent; a subject need not exist yet. Nothing to do for a connector without Avro.

        Raises:
            UnavailableError: the registry does not answer.
            PreconditionError: its address or its credentials are not known, or it refuses.
        """
        access = accessible(file.config, self._environ)
        if access is None:
            return
        with httpx.Client(
            auth=access.auth, verify=access.verify, timeout=_TIMEOUT, transport=self._transport
        ) as client:
            for subject in (f"{topic}-{part}" for topic in topics for part in ("key", "value")):
                _accept_any(client, access, subject)


def _accept_any(client: httpx.Client, access: Access, subject: str) -> None:
    try:
        answer = client.put(f"{access.url}/config/{subject}", json={"compatibility": _ANY})
    except httpx.HTTPError as error:
        why = absence(error)
        raise UnavailableError(
            f"The schema registry at {access.url} does not answer: {why}.",
            hint=_CERTIFICATE_HINT if "certificate" in why else _HINT,
        ) from error
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise UnavailableError(
            f"The schema registry at {access.url} answers {answer.status_code}.", hint=_HINT
        )
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise PreconditionError(
            f"The schema registry at {access.url} refuses these credentials, or wants some.",
            hint="Give the converter's basic.auth.user.info, or user:password@ in the address.",
        )
    if answer.is_error:
        raise PreconditionError(
            f"The schema registry refuses to change the rule of {subject}: {answer.status_code}.",
            hint=f"Let this account set the compatibility of {subject} to {_ANY}, or set it.",
        )
