"""Keep secrets out of everything that is shown: tables, JSON output, logs, errors.

Three nets, because each misses what the others catch: a setting whose *name* promises a secret is
masked whatever it holds, a secret's *value* is cut out of any text it turns up in (Connect quotes
resolved values in its error messages), and a URL is shown without its user and password.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MASK = "********"

_SECRET_NAME = re.compile(
    r"(password|passwd|passphrase|secret|token|credential|private\.?key|api\.?key|access\.?key"
    r"|sasl\.jaas\.config|basic\.auth\.user\.info|connection\.?string)",
    re.IGNORECASE,
)
# Names that the pattern hits although they hold no secret: paths, classes, providers of secrets.
_NOT_SECRET_NAME = re.compile(
    r"(credentials\.source|token\.endpoint\.url|key\.converter|callback\.handler\.class)$",
    re.IGNORECASE,
)
# To the last @ before a blank or the next URL: a password is not always escaped, and one with a
# slash in it would else be shown in part. Better a path with an @ is shown too short.
_USERINFO = re.compile(r"(?<=://)(?:(?!,?\w{1,20}://)\S)*@")
_REFERENCE = re.compile(r"\$\{[A-Za-z0-9_-]+:[^{}]*\}")
_ENV_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


def is_secret_name(setting: str) -> bool:
    """Whether a setting of this name holds a secret."""
    return bool(_SECRET_NAME.search(setting)) and not _NOT_SECRET_NAME.search(setting)


def is_reference(value: str) -> bool:
    """Whether the whole value is one reference, such as ``${env:NAME}``, that Connect resolves."""
    return _REFERENCE.fullmatch(value) is not None


def masked(setting: str, value: str) -> str:
    """The value as it may be shown: a reference names a secret without telling it, so it stays."""
    if is_secret_name(setting) and value and not is_reference(value):
        return MASK
    return without_userinfo(value)


def without_userinfo(text: str) -> str:
    """A URL, or any text, with ``user:password@`` taken out of each URL in it."""
    return _USERINFO.sub("", text)


def masked_config(config: Mapping[str, str]) -> dict[str, str]:
    return {setting: masked(setting, value) for setting, value in config.items()}


def environment_secrets(environ: Mapping[str, str]) -> frozenset[str]:
    """The secrets that Callsheet's own variables hold, in clear: what `redacted` must cut out."""
    return frozenset(
        value
        for name, value in environ.items()
        if name.startswith("CALLSHEET_") and value and is_secret_name(name)
    )


def redacted(text: str, secrets: Iterable[str]) -> str:
    """``text`` without any of these values, the longest first: one may contain another. A URL's
    user and password, which are in no variable of their own, go as well.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, MASK)
    return without_userinfo(text)


def resolved(value: str, environ: Mapping[str, str]) -> str:
    """The value with each ``${env:NAME}`` filled in as Connect's own provider would do it.

    Raises:
        KeyError: the variable, by name, that is not set.
    """
    return _ENV_REFERENCE.sub(lambda match: environ[match.group(1)], value)
