"""Configuration files that remember their lines, so that a fault can name the one it is on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from callsheet.errors import ConfigError, Fault

Location = tuple[str | int, ...]
"""Where in a document: the keys and indices from its root."""


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file. ``fault`` finds the line of a key, or else that of its nearest parent."""

    path: Path
    data: Mapping[str, Any]

    def line(self, location: Location) -> int:
        node: Any = self.data
        line = 1
        for key in location:
            if isinstance(node, CommentedMap) and key in node:
                line = node.lc.key(key)[0] + 1
            elif isinstance(node, CommentedSeq) and isinstance(key, int) and key < len(node):
                line = node.lc.item(key)[0] + 1
            else:
                break
            node = node[key]
        return line

    def fault(self, location: Location, message: str) -> Fault:
        path = ".".join(str(part) for part in location)
        return Fault(message, file=str(self.path), line=self.line(location), path=path)


def read_json(path: Path) -> Document:
    """A JSON file, strictly: what this accepts, ``curl -d @file`` can send.

    Raises:
        ConfigError: it cannot be read, is no JSON, is no object, or names a key twice.
    """
    text = _read(path)
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        fault = Fault(error.msg, file=str(path), line=error.lineno, column=error.colno)
        raise _unreadable(path, fault) from error
    return _parse(path, text)  # JSON is YAML, and the YAML parser keeps the lines


def read_yaml(path: Path) -> Document:
    """As `read_json`, for YAML."""
    return _parse(path, _read(path))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise _unreadable(path, Fault(str(reason), file=str(path))) from error


def _parse(path: Path, text: str) -> Document:
    try:
        data = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        fault = Fault(str(error.problem or error.context), file=str(path), line=line)
        raise _unreadable(path, fault) from error
    if not isinstance(data, dict):
        raise _unreadable(path, Fault("must be an object", file=str(path), line=1))
    return Document(path, data)


def _unreadable(path: Path, fault: Fault) -> ConfigError:
    return ConfigError(f"{path} cannot be read: {fault.message}.", faults=[fault])
