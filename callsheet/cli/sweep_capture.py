"""How far a connector is, for a sweep: through Kafka Connect, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from callsheet.errors import PreconditionError, UsageError
from callsheet.sweep.watermark import Place
from connectors.client import ConnectClient
from connectors.progress import measure

_PARTIAL: Final = ("snapshot.include.collection.list", "snapshot.select.statement.overrides")
"""Settings by which a snapshot leaves rows out that are there all the same."""


class ConnectCapture:
    """Implements :class:`callsheet.sweep.sweep.Capture`."""

    def __init__(self, connect: ConnectClient, name: str) -> None:
        self._connect, self._name = connect, name

    def settled(self) -> Place:
        config = self._connect.config(self._name)
        if config is None:
            raise UsageError(
                f"Connect knows no connector {self._name!r}.",
                hint="`callsheet connectors status` lists those it knows.",
            )
        for setting in _PARTIAL:
            if config.get(setting):
                raise PreconditionError(
                    f"{self._name} has {setting}: its snapshots leave out rows that are there",
                    hint="take the setting out and snapshot again; or delete orphans by hand",
                )
        progress = measure(self._connect.offsets(self._name), {})
        if progress.snapshotting or progress.position is None:
            raise PreconditionError(
                f"{self._name} has not completed its snapshot",
                hint="wait for it: `callsheet connectors status`, then run the command again",
            )
        return Place(progress.position.file, progress.position.position)


def connector_name(connect: ConnectClient, prefix: str, given: str | None) -> str:
    """``given``: a connector's name, or its file; None: the one that writes to these topics.

    Raises:
        UsageError: there is none, or it writes to others.
    """
    name = _named(given) if given is not None else None
    found = {
        each.name for each in connect.connectors() if each.config.get("topic.prefix") == prefix
    }
    if name is None and len(found) == 1:
        return found.pop()
    if name in found:
        return str(name)
    known = f"; {', '.join(sorted(found))} does" if found else ""
    raise UsageError(
        f"no connector {name or ''} writes to the topics of {prefix!r}{known}".replace("  ", " "),
        hint="name it with --connector; `callsheet connectors status` lists those there are",
    )


def _named(given: str) -> str:
    path = Path(given)
    if not path.is_file():
        return given
    from connectors.files import load

    return load(path).name
