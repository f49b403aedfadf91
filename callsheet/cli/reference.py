"""``python -m callsheet.cli.reference``: write ``docs/configuration.md``."""

from __future__ import annotations

from pathlib import Path

from callsheet.config.reference import reference
from sinks import BUILT_IN, plugin

DOCUMENT = Path(__file__).parents[2] / "docs/configuration.md"


def text() -> str:
    """The document as the models of today make it."""
    return reference({name: plugin(name).settings for name in BUILT_IN})


if __name__ == "__main__":
    DOCUMENT.write_text(text(), "utf-8")
