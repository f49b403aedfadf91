"""The cache of components: fetched once, verified, complete or absent."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callsheet.errors import PreconditionError
from stack.components import Component, Tools
from stack.locks import exclusive
from stack.places import disk_errors_named, free_bytes, open_to_all
from stack.progress import Progress

_RECORD = "callsheet-component.json"
_UNPACKED_FACTOR = 3  # download plus what is unpacked from it, generously


@dataclass(frozen=True, slots=True)
class Store:
    """Components by name, each in a folder of its own below ``cache``.

    A folder appears by a rename after it is complete, and holds a record with the digest of what
    it was built from: so it is there and right, or it is not there.
    """

    cache: Path
    components: Mapping[str, Component]
    tools: Tools

    def folder(self, name: str) -> Path:
        """Where a component is, once it has been fetched."""
        return self.cache / "components" / name

    def version(self, name: str) -> str:
        """The version that was fetched; empty when it has not been."""
        return version_in(self.folder(name))

    def missing(self, names: Sequence[str]) -> list[str]:
        """Which of them are not there, or are of another version than this Callsheet's."""
        return [
            name for name in names
            if _record(self.folder(name)).get("digest") != self.components[name].digest
        ]  # fmt: skip

    def fetch(self, names: Sequence[str], progress: Progress) -> None:
        """Get what is missing; without anything missing the network is not touched."""
        if not self.missing(names):
            return
        with disk_errors_named(self.cache):
            self.cache.mkdir(parents=True, exist_ok=True)
            waiting = "Another callsheet is fetching the servers; waiting for it."
            with exclusive(self.cache / "lock", lambda: progress.say(waiting)):
                missing = self.missing(names)  # the other may have fetched them meanwhile
                self._require_space(missing)
                for name in missing:
                    self._build(self.components[name], progress)

    def _build(self, component: Component, progress: Progress) -> None:
        aside = self.cache / "unpacking" / component.name
        shutil.rmtree(aside, ignore_errors=True)  # left by an interruption
        aside.mkdir(parents=True)
        progress.say(f"{component.name}: fetching ({component.download_bytes >> 20} MiB)")
        about = component.build(aside, self.tools, progress)
        record = {"name": component.name, "digest": component.digest, **about}
        (aside / _RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        open_to_all(aside)
        self._publish(aside, self.folder(component.name))
        component.forget(self.tools)
        progress.say(f"{component.name}: {record['version']} ready")

    def _publish(self, aside: Path, final: Path) -> None:
        final.parent.mkdir(exist_ok=True)
        if final.exists():
            # A server may run from the old version: out of the way by a rename, then gone.
            old = self.cache / "unpacking" / f"{final.name}.old.{os.getpid()}"
            final.rename(old)
            aside.rename(final)
            shutil.rmtree(old)
        else:
            aside.rename(final)

    def _require_space(self, names: Sequence[str]) -> None:
        needed = sum(self.components[name].download_bytes for name in names) * _UNPACKED_FACTOR
        free = free_bytes(self.cache)
        if free < needed:
            raise PreconditionError(
                f"The disk with {self.cache} has {free >> 20} MiB free, and fetching "
                f"{', '.join(names)} takes up to {needed >> 20} MiB for a while.",
                hint="Make room, or set CALLSHEET_CACHE_DIR to a folder on a larger disk.",
            )


def version_in(folder: Path) -> str:
    """The version of the component in a folder; empty when there is none."""
    return str(_record(folder).get("version", ""))


def _record(folder: Path) -> Mapping[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / _RECORD).read_text("utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return record
