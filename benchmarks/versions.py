"""Which versions a number belongs to."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[1]


def of_programs() -> dict[str, str]:
    """What runs in our own processes."""
    packages = ("polars", "confluent-kafka", "msgspec", "orjson")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "callsheet": revision(),
    }


def revision() -> str:
    """The commit, with ``+changes`` where tracked files differ from it."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return "not a git checkout"
    return commit + ("+changes" if _git("status", "--porcelain", "-uno", *_PRODUCT) else "")


_PRODUCT: Final = ("--", "callsheet", "sinks", "connectors", "native", "stack", "finance")
"""A result file that was just written must not make the next one look uncommitted."""


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def merged(servers: Mapping[str, str]) -> dict[str, str]:
    return {**of_programs(), **servers}
