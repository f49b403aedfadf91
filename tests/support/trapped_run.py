"""`callsheet run` whose workers may be trapped: ``-m tests.support.trapped_run FOLDER run …``."""

from __future__ import annotations

import sys
from functools import partial

import callsheet.supervision
from callsheet.backoff import Backoff
from callsheet.cli import main

SOON = Backoff(base_s=0.2, cap_s=0.5)
"""Killed ten times within a minute a worker would be left alone for most of it."""


def run(folder: str) -> None:
    command = (sys.executable, "-m", "tests.support.trapped_child", folder)
    callsheet.supervision.__dict__["Supervisor"] = partial(
        callsheet.supervision.Supervisor, command=command
    )
    callsheet.supervision.__dict__["_CRASH"] = callsheet.supervision.__dict__["_FATAL"] = SOON
    main()


if __name__ == "__main__":
    traps = sys.argv.pop(1)
    run(traps)
