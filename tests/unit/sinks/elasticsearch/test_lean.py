"""What a worker does not load, it does not pay for."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("pyarrow")


def test_the_sink_leaves_pyarrow_alone() -> None:
    program = (
        "import sys, sinks.elasticsearch; loaded = 'pyarrow' in sys.modules;"
        "import pyarrow; print(loaded, pyarrow.array([1]).to_pylist())"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.split(maxsplit=1) == ["False", "[1]\n"]
