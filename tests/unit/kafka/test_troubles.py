from __future__ import annotations

import structlog
from confluent_kafka import KafkaError
from structlog.testing import LogCapture

from callsheet.kafka.troubles import QUIET_S, ClientTroubles
from tests.support.clock import FakeClock

AWAY, DOWN = KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN


def test_an_outage_is_a_line_a_minute_for_each_kind_and_none_is_forgotten() -> None:
    clock, lines = FakeClock(), LogCapture()
    troubles = ClientTroubles(structlog.wrap_logger(None, processors=[lines]), clock)
    for _ in range(200):
        for broker in range(3):
            troubles.note(KafkaError(AWAY, f"broker {broker}: Connection refused"))
        troubles.note(KafkaError(DOWN, "3/3 brokers are down"))
        clock.advance(1.0)
    told = [entry for entry in lines.entries if entry["code"] == "_TRANSPORT"]
    assert len(told) == 200 // QUIET_S + 1
    assert [entry.get("unsaid", 0) for entry in told] == [0, 179, 179, 179]
    assert told[0]["event"] == "a kafka broker does not answer"
    assert told[0]["cause"] == "broker 0: Connection refused"
    assert len(lines.entries) == 2 * len(told)


def test_what_we_have_no_words_for_keeps_the_clients_own() -> None:
    lines = LogCapture()
    troubles = ClientTroubles(structlog.wrap_logger(None, processors=[lines]), FakeClock())
    troubles.note(KafkaError(KafkaError._FS, "disk"))
    (entry,) = lines.entries
    assert (entry["event"], entry["cause"]) == ("kafka client in trouble", "disk")
