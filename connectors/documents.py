"""Configuration files of connectors, with the line of every key."""

from __future__ import annotations

from pathlib import Path

from callsheet.config.document import Document, parse, parse_json
from callsheet.errors import ConfigError, Fault


def read_json(path: Path) -> Document:
    """A JSON file, strictly: what this accepts, ``curl -d @file`` can send.

    Raises:
        ConfigError: it cannot be read, is no JSON, is no object, or names a key twice.
    """
    return parse_json(_read(path), str(path))


def read_yaml(path: Path) -> Document:
    """As `read_json`, for YAML."""
    return parse(_read(path), str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        fault = Fault(str(reason), file=str(path))
        raise ConfigError(f"{path} cannot be read: {reason}.", faults=[fault]) from error
