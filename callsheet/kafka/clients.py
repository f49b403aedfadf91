"""Settings that a Kafka client does not take: an error that says which, before anything connects.

librdkafka looks at its settings when a client is made, and says so with an exception of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException

from callsheet.errors import ConfigError

IN_FILE: Final = "look at kafka.properties in the pipeline file"
_MADE: Final = "Failed to create "
"""Begins what is said of settings that do not go together; what is said of one does not."""
_VALUE: Final = re.compile(r'Invalid value ".*" for', re.DOTALL)
_UNREADABLE: Final = re.compile(r"(ssl\.[a-z.]+\.location) failed")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is wrong, without the value: it may be a secret. ``name`` is empty where it is not
    about one property.
    """

    name: str
    message: str

    def __str__(self) -> str:
        return self.message if self.name in self.message else f"{self.name}: {self.message}"


@contextmanager
def refusals_told(settings: Mapping[str, str] | None = None, hint: str = IN_FILE) -> Iterator[None]:
    """Around the making of a client. ``settings``: what it is made of, where that is known.

    Raises:
        ConfigError: it does not take them.
    """
    try:
        yield
    except KafkaException as error:
        if error.args[0].code() != KafkaError._INVALID_ARG:  # noqa: SLF001 - librdkafka's spelling
            raise
        found = _refusal(error, settings or {})
        raise ConfigError(
            f"the Kafka client does not take its settings: {found}", hint=hint
        ) from error


def refusals(settings: Mapping[str, str]) -> Iterator[Refusal]:
    """All that a client does not take of these settings. No broker is asked."""
    rest = {"group.id": "callsheet", **settings, "log_level": "0"}
    # Without an address it knocks nowhere, and without this method it asks nobody for a token.
    rest.pop("bootstrap.servers", None)
    if rest.get("sasl.oauthbearer.method", "").lower() == "oidc":
        del rest["sasl.oauthbearer.method"]
    while True:
        try:
            Consumer(rest).close()
        except KafkaException as error:
            found = _refusal(error, settings)
            yield found
            if found.name not in rest or error.args[0].str().startswith(_MADE):
                return
            del rest[found.name]  # it tells of one at a time
        else:
            return


def _refusal(error: KafkaException, settings: Mapping[str, str]) -> Refusal:
    text = " ".join(error.args[0].str().split())
    if text.startswith(_MADE):
        text = text.partition(": ")[2]
    text = _VALUE.sub("Invalid value for", text)
    unreadable = _UNREADABLE.match(text)
    if unreadable is not None:
        file = settings.get(unreadable[1], "")
        # Its own words for that are of the depths of OpenSSL.
        if file and not Path(file).exists():
            return Refusal(unreadable[1], f"there is no file {file}")
    longest_first = sorted(settings, key=len, reverse=True)
    return Refusal(next((name for name in longest_first if name in text), ""), text)
