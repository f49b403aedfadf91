"""How the connector's own converter reaches the schema registry, so that we can go the same way."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from callsheet.errors import PreconditionError
from connectors.masking import is_reference, resolved
from connectors.tls import trusted, trusting

_CONVERTER: Final = "value.converter."
_URL: Final = "schema.registry.url"
_USER_INFO: Final = "basic.auth.user.info"
_TOKEN: Final = "bearer.auth.token"  # noqa: S105  (a setting's name)
_TRUSTSTORE: Final = "schema.registry.ssl.truststore"

_Setting = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Access:
    """A registry's address and what it asks of a client; its ``repr`` has no secret."""

    url: str
    """Without a user and password: they are in ``auth``, and this one is shown."""
    auth: httpx.Auth | None = field(repr=False)
    verify: ssl.SSLContext | bool


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._header
        yield request


def accessible(config: Mapping[str, str], environ: Mapping[str, str]) -> Access | None:
    """As the value converter's settings say, the first of its addresses; None without Avro.

    Raises:
        PreconditionError: a variable is not set, the address is none, a secret is a reference that
            only Connect resolves, or the authorities' file cannot be read.
    """
    if _CONVERTER + _URL not in config:
        return None

    def setting(name: str) -> str:
        return _resolved(config, environ, _CONVERTER + name)

    try:
        url = httpx.URL(setting(_URL).split(",")[0].strip().rstrip("/"))
    except httpx.InvalidURL:  # its text quotes the part that is wrong: perhaps a password's
        url = httpx.URL("")
    # An @ behind the host is of a password with a bare slash, which must not be shown.
    if url.scheme not in {"http", "https"} or not url.host or "@" in url.path:
        raise PreconditionError(
            f"{_CONVERTER}{_URL} is no address.",
            hint="It is http(s)://host:port/path; a user and password before it are URL-encoded.",
        )
    return Access(str(url.copy_with(userinfo=b"")), _auth(url, setting), _verify(setting, environ))


def _auth(url: httpx.URL, setting: _Setting) -> httpx.Auth | None:
    """What the file states goes before what the address carries."""
    if token := setting(_TOKEN):
        return _Bearer(token)
    user_info = setting(_USER_INFO) or setting(f"schema.registry.{_USER_INFO}")
    if user_info:
        user, _, password = user_info.partition(":")
        return httpx.BasicAuth(user, password)
    return httpx.BasicAuth(url.username, url.password) if url.userinfo else None


def _verify(setting: _Setting, environ: Mapping[str, str]) -> ssl.SSLContext | bool:
    """By the converter's truststore if that is PEM and lies here too; a Java one we cannot read."""
    location = setting(f"{_TRUSTSTORE}.location")
    is_pem = setting(f"{_TRUSTSTORE}.type").upper() == "PEM"
    if is_pem and location and Path(location).is_file():
        return trusting(location, f"{_CONVERTER}{_TRUSTSTORE}.location")
    return trusted(environ)


def _resolved(config: Mapping[str, str], environ: Mapping[str, str], name: str) -> str:
    try:
        value = resolved(config.get(name, ""), environ)
    except KeyError as error:
        raise PreconditionError(
            f"{error.args[0]}, which {name} names, is not set: the schema registry is not known.",
            hint="Start the stack (`callsheet stack up`), or export the variable.",
        ) from error
    if is_reference(value):
        raise PreconditionError(
            f"{name} is a reference that only Connect can resolve.",
            hint="Write it as ${env:CALLSHEET_...}, and export the variable here as well.",
        )
    return value
