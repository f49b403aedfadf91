"""Whose certificates are believed, where a server is asked by ourselves and not by Connect."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

from callsheet.absence import absence
from callsheet.errors import PreconditionError

MYSQL_CA: Final = "CALLSHEET_MYSQL_TLS_CA"
_VERIFYING: Final = frozenset({"verify_ca", "verify_identity"})


def trusting(ca_file: str, named_by: str) -> ssl.SSLContext:
    """A context that checks certificate and host name, by the authorities of one file.

    Args:
        ca_file: PEM; empty: those that the system trusts.
        named_by: the variable or setting that names the file, for the error.

    Raises:
        PreconditionError: the file cannot be read, or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        faulty = isinstance(error, ssl.SSLError)
        reason = "it holds no certificate" if faulty else absence(error)
        raise PreconditionError(
            f"The file that {named_by} names cannot be read: {reason}.",
            hint=f"Set {named_by} to a PEM file with the certificate of the authority.",
        ) from error


def trusted(environ: Mapping[str, str], variable: str = "") -> ssl.SSLContext | bool:
    """For an HTTP client: by the file that the variable names, or else SSL_CERT_FILE.

    True: by the well-known authorities.

    Raises:
        PreconditionError: the file cannot be read, or holds no certificate.
    """
    for name in (variable, "SSL_CERT_FILE"):
        if environ.get(name):
            return trusting(environ[name], name)
    return True


def mysql_tls(mode: str, ca_file: str) -> ssl.SSLContext | None:
    """As strict as the connector, and verified whatever it says where an authority is named.

    Args:
        mode: the connector's ``database.ssl.mode``.
        ca_file: what `MYSQL_CA` names, or nothing.

    Returns:
        None: TLS where the server offers it, and not verified.

    Raises:
        PreconditionError: the file cannot be read.
    """
    if ca_file or mode in _VERIFYING:
        context = trusting(ca_file, MYSQL_CA)
        # As PyMySQL does it: the certificates that MySQL makes for itself are not that strict.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = mode != "verify_ca"
        return context
    if mode != "required":
        return None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
