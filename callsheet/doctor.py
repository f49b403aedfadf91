"""What `callsheet doctor` reports: one finding per thing looked at, whoever looked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``hint`` says what to do, and is empty where nothing need be done."""

    area: str
    """Who owns it: ``machine``, ``mysql``, ``kafka`` ..."""
    name: str
    level: Level
    message: str
    hint: str = ""
