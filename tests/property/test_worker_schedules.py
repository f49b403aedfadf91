"""The worker against random schedules of records, faults, rebalances and crashes.

At every call the fakes assert: nothing is committed that is nowhere, nothing committed is written
again, only what we own is written or dead-lettered, one ID keeps its order, memory stays bounded.
At the quiet end everything has arrived, or is listed as parked.
"""

from __future__ import annotations

import pytest

from tests.support.examples import examples
from tests.support.schedules import play

BLOCK = examples(150)
BLOCKS = [pytest.param(n, marks=pytest.mark.slow if n >= 4 else ()) for n in range(10)]
"""`make test-fast` plays some of them, `make test` all 1,500."""


@pytest.mark.parametrize("block", BLOCKS)
def test_everything_arrives_whatever_happens(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        try:
            play(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}: tests.support.schedules.play({seed}) repeats it")
            raise
