"""However many ids are wanted, and however slow the registry: one poll's lookups have one end."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from callsheet.codec.binding import AvroDialect
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.schema_registry import SchemaRegistry
from callsheet.errors import PoisonRecordError, Reason, RetryableError
from tests.support.clock import FakeClock
from tests.support.envelopes import FakeMessage

BUDGET_S = 20.0


class SlowRegistry:
    """Each answer takes ``takes_s`` of a clock that only this moves. Ids below 1,000 are known."""

    def __init__(self, takes_s: float) -> None:
        self.clock, self.takes_s = FakeClock(), takes_s
        self.asked: list[int] = []
        self.client = SchemaRegistry(
            "http://registry.test",
            transport=httpx.MockTransport(self._answer),
            clock=self.clock,
            lookup_budget_s=BUDGET_S,
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        identifier = int(request.url.path.rpartition("/")[2])
        self.asked.append(identifier)
        self.clock.advance(self.takes_s)
        if identifier >= 1000:
            return httpx.Response(404, json={"error_code": 40403})
        return httpx.Response(200, json={"schema": '"int"'})

    def poll(self, identifiers: range) -> int:
        """As the decoder asks: each id, whatever became of the one before. How many were known."""
        known = 0
        with self.client.lookups():
            for identifier in identifiers:
                try:
                    self.client.schema(identifier)
                    known += 1
                except PoisonRecordError:
                    continue
        return known


def test_many_unknown_ids_end_at_the_deadline_and_the_next_try_goes_on() -> None:
    registry = SlowRegistry(takes_s=1.0)
    for _ in range(3):
        begun_s = registry.clock.now_s
        with pytest.raises(RetryableError, match="too slow"):
            registry.poll(range(990, 1060))
        assert registry.clock.now_s - begun_s == BUDGET_S
    assert registry.poll(range(990, 1060)) == 10
    # Only what was being asked for at the deadline is asked for again.
    assert set(registry.asked) == set(range(990, 1060))
    assert len(registry.asked) == 70 + 3


def test_a_poll_of_many_unknown_ids_is_decoded_in_bounded_tries() -> None:
    registry = SlowRegistry(takes_s=1.0)
    decoder = DebeziumDecoder(AvroDialect(registry.client), native=None)
    poll = [
        FakeMessage(b"\x00" + n.to_bytes(4, "big") + b"x", offset_=n) for n in range(1000, 1050)
    ]
    for _ in range(2):
        begun_s = registry.clock.now_s
        with pytest.raises(RetryableError, match="too slow"):
            decoder.decode(poll)
        assert registry.clock.now_s - begun_s == BUDGET_S
    decoded = decoder.decode(poll)
    assert {poison.reason for poison in decoded.poison} == {Reason.UNKNOWN_SCHEMA}
    assert len(decoded.poison) == 50


def test_an_unknown_id_is_asked_for_again_once_its_poll_is_done() -> None:
    registry = SlowRegistry(takes_s=0.0)
    for _ in range(2):
        with registry.client.lookups():
            for _ in range(3):
                with pytest.raises(PoisonRecordError):
                    registry.client.schema(2000)
    assert registry.asked == [2000, 2000]


def test_an_answer_that_trickles_ends_at_the_deadline() -> None:
    clock = FakeClock()
    begun_s = clock.now_s

    def trickle() -> Iterator[bytes]:
        for _ in range(1000):
            clock.advance(9.0)  # below the timeout of one read
            yield b" "

    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=trickle()))
    client = SchemaRegistry("http://registry.test", transport=transport, clock=clock)
    with pytest.raises(RetryableError, match="too slow"), client.lookups():
        client.schema(1)
    assert clock.now_s - begun_s <= BUDGET_S + 9
