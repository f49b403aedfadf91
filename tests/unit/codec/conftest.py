"""The bench in each format, with the native decoder and without."""

from __future__ import annotations

import pytest

from tests.support.decoder_bench import Bench
from tests.support.envelopes import (
    NATIVES,
)


@pytest.fixture(params=["avro", "json"])
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=NATIVES)
def bench(request: pytest.FixtureRequest, wire: str) -> Bench:
    return Bench(wire, request.param)
