"""How much a test of random examples tries."""

from __future__ import annotations

import os


def examples(count: int) -> int:
    """``count``, times the environment's CALLSHEET_EXAMPLES: `make test-fast` tries a part of them,
    and who hunts a defect tries more.
    """
    return max(1, round(count * float(os.environ.get("CALLSHEET_EXAMPLES", "1"))))
