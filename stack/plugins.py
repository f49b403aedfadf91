"""Kafka Connect's plugins in a folder, for the container image: `python -m stack.plugins FOLDER`.

The same files, verified by the same checksums, as in the native stack.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from callsheet.errors import CallsheetError
from stack.progress import Silence
from stack.servers.connect import PLUGINS
from stack.setup import machine_of


class _Lines(Silence):
    def say(self, message: str) -> None:
        sys.stderr.write(f"{message}\n")


def main(folder: Path) -> None:
    """Fetch the plugins, and put each into ``folder``."""
    store = machine_of({**os.environ, "CALLSHEET_CACHE_DIR": str(folder / ".cache")}).store
    store.fetch(PLUGINS, _Lines())
    for name in PLUGINS:
        for plugin in store.folder(name).iterdir():
            if plugin.is_dir():
                plugin.rename(folder / plugin.name)
    shutil.rmtree(folder / ".cache")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except CallsheetError as error:
        sys.exit(f"error: {error.message}\nhint: {error.hint}")
