"""YAML that remembers where everything stands, so that a fault can name its line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from callsheet.errors import ConfigError, Fault

Path = tuple[str | int, ...]
"""Keys and indices from the top: ``("source", "topics", 0)``."""


def dotted(path: Sequence[str | int]) -> str:
    """``source.topics[0]``, as people write it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file. ``root`` is ruamel's tree."""

    file: str
    root: CommentedMap

    def plain(self) -> dict[str, Any]:
        return {str(key): _plain(value) for key, value in self.root.items()}

    def line_of(self, path: Sequence[str | int]) -> int:
        """Line (from 1) of the entry there, or of the nearest one above that exists."""
        node: Any = self.root
        line = 1
        for part in path:
            if isinstance(node, CommentedMap) and part in node:
                line = node.lc.key(part)[0] + 1
            elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
                line = node.lc.item(part)[0] + 1
            else:
                return line
            node = node[part]
        return line

    def line_named(self, name: str) -> int:
        """Line of the first object whose ``name`` is this, or else of the first such key or text;
        the first line where there is none.
        """
        # Of equals the first: min() keeps it.
        places = _named(self.root, name)
        return min(places, key=lambda place: place[0], default=(0, 1))[1]

    def fault(self, path: Sequence[str | int], message: str) -> Fault:
        return Fault(message, file=self.file, line=self.line_of(path), path=dotted(path))

    def raw(self, path: Sequence[str | int]) -> Any:
        """What is written there, before interpolation; None where nothing is."""
        node: Any = self.root
        for part in path:
            try:
                node = node[part]
            except (KeyError, IndexError, TypeError):
                return None
        return node


def _named(node: Any, name: str) -> Iterator[tuple[int, int]]:
    """Places that bear this name, in order: how well they do (0 is best), and their lines."""
    if isinstance(node, CommentedMap):
        if node.get("name") == name:
            yield 0, node.lc.key("name")[0] + 1
        if name in node:
            yield 1, node.lc.key(name)[0] + 1
        for key, value in node.items():
            if value == name:
                yield 1, node.lc.value(key)[0] + 1
            yield from _named(value, name)
    elif isinstance(node, CommentedSeq):
        for number, value in enumerate(node):
            if value == name:
                yield 1, node.lc.item(number)[0] + 1
            yield from _named(value, name)


def parse(text: str, file: str) -> Document:
    """Raises:
    ConfigError: not YAML, or no mapping, with the line.
    """
    try:
        root = YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        # Its text goes on about how to allow duplicates: only the first line says what is wrong.
        raise _unreadable(file, str(error.problem).splitlines()[0], error) from error
    except MarkedYAMLError as error:
        raise _unreadable(file, str(error.problem or error.context), error) from error
    except YAMLError as error:
        raise _unreadable(file, str(error).splitlines()[0], None) from error
    if not isinstance(root, CommentedMap):
        raise _unreadable(file, "must be a mapping of keys to values", None)
    return Document(file, root)


def parse_json(text: str, file: str) -> Document:
    """As :func:`parse`, for JSON and nothing that only YAML takes."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        fault = Fault(f"not JSON: {error.msg}", file=file, line=error.lineno, column=error.colno)
        raise ConfigError(f"{file} cannot be read", faults=[fault]) from error
    return parse(text, file)  # JSON is YAML, and the YAML parser keeps the lines


def _unreadable(file: str, problem: str, error: MarkedYAMLError | None) -> ConfigError:
    mark = error.problem_mark if error else None
    line = mark.line + 1 if mark else 1
    return ConfigError(f"{file} cannot be read", faults=[Fault(problem, file=file, line=line)])


def _plain(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):  # ruamel's scalars are subclasses that keep their formatting
        if isinstance(node, kind):
            return kind(node)
    return node
