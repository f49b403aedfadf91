"""A worker's process that freezes (SIGSTOP) at a step of its loop:
``-m tests.support.freezing_child STEP NUMBER MARKER``. Only the first process that finds no MARKER
freezes; the marker names it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from callsheet.child import main
from callsheet.delivery import Step


def run(step: str, number: int, marker: Path) -> None:
    seen = 0

    def at(reached: Step) -> None:
        nonlocal seen
        if reached == step and not marker.exists():
            seen += 1
            if seen == number:
                marker.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGSTOP)

    main(at)


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
