"""Why a server does not answer, in the words of somebody who has to mend it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPException
from typing import Final

_MOST_CAUSES: Final = 20
_FOREIGN: Final = "what listens there speaks another protocol, or hung up"
_BY_NAME: Final = {
    "InvalidURL": "that is no http(s) address",
    "UnsupportedProtocol": "that is no http(s) address",
    "SSLError": "its certificate is not the one expected",  # urllib3's check of a fingerprint
    "RemoteProtocolError": _FOREIGN,
}
"""Errors that no system error is behind. By name: not every command loads every client."""


def absence(error: BaseException, otherwise: str = "") -> str:
    """The cause behind a client library's error: a few words, without addresses or secrets.

    Libraries wrap the system's error in their own and put class names and object ids into the
    text; the cause is somewhere down the chain. ``otherwise`` is said where it is not.
    """
    causes = tuple(_causes(error))
    for explain in (_of_system, _of_library):
        for cause in causes:
            if words := explain(cause):
                return words
    return otherwise or type(error).__name__


def _of_system(cause: BaseException) -> str:  # noqa: PLR0911  (a table: the narrow ones first)
    match cause:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not accepted, {cause.verify_message}"
        case ssl.SSLError():
            return "what listens there speaks no TLS, or another version"
        case socket.gaierror():
            return "the host name is unknown"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionResetError() | BrokenPipeError():
            return "it hung up"
        case TimeoutError():
            return "no answer in time"
        case OSError(strerror=str(words)) if words:
            return words[0].lower() + words[1:]
    return ""


def _of_library(cause: BaseException) -> str:
    name = type(cause).__name__
    if "Timeout" in name or "timed out" in str(cause):
        return "no answer in time"
    return _FOREIGN if isinstance(cause, HTTPException) else _BY_NAME.get(name, "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it came from: chained, or carried along (`errors`, `args`)."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _MOST_CAUSES:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        carried = (cause.__cause__, cause.__context__, *cause.args, *getattr(cause, "errors", ()))
        waiting += [each for each in carried if isinstance(each, BaseException)]
