"""How a schema registry's certificates are checked."""

from __future__ import annotations

import ssl
from pathlib import Path

from callsheet.config.source import RegistrySettings
from callsheet.errors import ConfigError


def registry_tls(settings: RegistrySettings, folder: Path, where: str) -> ssl.SSLContext | bool:
    """True: as the system does.

    Args:
        settings: which certificates to trust and to show.
        folder: what relative paths start at.
        where: the settings' place in the pipeline file, for the error's hint.

    Raises:
        ConfigError: a file cannot be read, or holds no certificate.
    """
    if settings.ca_file is None and settings.certificate_file is None:
        return True
    try:
        context = ssl.create_default_context(
            cafile=folder / settings.ca_file if settings.ca_file else None
        )
        if settings.certificate_file is not None and settings.key_file is not None:
            context.load_cert_chain(folder / settings.certificate_file, folder / settings.key_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"the schema registry's certificates cannot be read: {error.strerror or error}",
            hint=f"look at {where} in the pipeline file",
        ) from error
    return context
