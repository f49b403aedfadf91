"""The brokers, for commands that have no pipeline file to say where they are.

A pipeline file names its own (`kafka.bootstrap_servers`, `kafka.properties`) and may refer to the
same variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from callsheet.errors import ConfigError, UsageError
from callsheet.kafka.clients import refusals
from callsheet.kafka.settings import Connection

BOOTSTRAP: Final = "CALLSHEET_KAFKA_BOOTSTRAP"

SECURITY: Final[Mapping[str, str]] = {
    "CALLSHEET_KAFKA_SECURITY_PROTOCOL": "security.protocol",
    "CALLSHEET_KAFKA_SASL_MECHANISM": "sasl.mechanism",
    "CALLSHEET_KAFKA_SASL_USERNAME": "sasl.username",
    "CALLSHEET_KAFKA_SASL_PASSWORD": "sasl.password",
    "CALLSHEET_KAFKA_SSL_CA_FILE": "ssl.ca.location",
}
"""Variable, and the client's setting that it gives. An empty one counts as unset."""


def connection(environ: Mapping[str, str]) -> Connection:
    """Raises:
    UsageError: nobody said where the brokers are.
    ConfigError: the Kafka client does not take a variable.
    """
    if not environ.get(BOOTSTRAP):
        raise UsageError(
            f"{BOOTSTRAP} is not set.",
            hint="`callsheet stack up` sets it for its own servers; else export it.",
        )
    properties = {
        setting: environ[variable]
        for variable, setting in SECURITY.items()
        if environ.get(variable)
    }
    found = Connection(environ[BOOTSTRAP], properties)
    refusal = next(refusals(found.common()), None)
    if refusal is not None:
        variables = {setting: variable for variable, setting in SECURITY.items()}
        raise ConfigError(
            f"The Kafka client does not take {variables.get(refusal.name, 'CALLSHEET_KAFKA_*')}: "
            f"{refusal.message}.",
            hint="Correct the variable, or unset it; docs/commands.md lists them.",
        )
    return found
