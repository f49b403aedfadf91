"""``${env:NAME}``, ``${env:NAME:-default}`` and ``${file:PATH}`` in a configuration's texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from callsheet.config.document import Path as Place

_REFERENCE: Final = re.compile(r"\$(\$\{)|\$\{([^{}]*)\}")
_ENV: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class Interpolation:
    """Replaces references; what cannot be resolved is told to ``fault`` and left out."""

    def __init__(
        self, env: Mapping[str, str], folder: Path, fault: Callable[[Place, str], None]
    ) -> None:
        self._env, self._folder, self._fault = env, folder, fault

    def of(self, node: Any, place: Place = ()) -> Any:
        """The same tree with every text resolved."""
        if isinstance(node, Mapping):
            return {key: self.of(value, (*place, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [self.of(value, (*place, i)) for i, value in enumerate(node)]
        if isinstance(node, str):
            return _REFERENCE.sub(lambda m: self._resolve(m, place), node)
        return node

    def _resolve(self, match: re.Match[str], place: Place) -> str:
        if match[1]:
            return "${"  # $${ is a literal
        reference = match[2]
        if env := _ENV.fullmatch(reference):
            return self._variable(env[1], env[2], place)
        if reference.startswith("file:"):
            return self._content(reference.removeprefix("file:"), place)
        self._fault(
            place,
            f"${{{reference}}} is no reference: write ${{env:NAME}}, ${{env:NAME:-default}} or "
            "${file:PATH}, and $${ for a literal ${",
        )
        return ""

    def _variable(self, name: str, default: str | None, place: Place) -> str:
        value = self._env.get(name)
        if value:
            return value
        if default is None:
            self._fault(place, f"the environment variable {name} is not set")
        return default or ""

    def _content(self, name: str, place: Place) -> str:
        try:
            return (self._folder / Path(name).expanduser()).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            self._fault(place, f"the file {name} cannot be read: {why}")
            return ""


def is_reference(text: str) -> bool:
    """Does the text take its value from outside of the file?"""
    return any(match[2] is not None for match in _REFERENCE.finditer(text))
