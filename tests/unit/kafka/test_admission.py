"""Turned away at the door: an admin's call says so at once, and never that nobody is there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException

from callsheet.errors import ConfigError
from callsheet.kafka.admission import Admission, asked

# In librdkafka's words, as they were seen.
WHERE = "sasl_ssl://k:9092/bootstrap: "
PASSWORD = KafkaError(
    KafkaError._AUTHENTICATION,
    f"{WHERE}SASL authentication error: Authentication failed: Invalid username or password "
    "(after 310ms in state AUTH_REQ)",
)
CERTIFICATE = KafkaError(
    KafkaError._TRANSPORT,
    f"{WHERE}error:0A000086:SSL routines::certificate verify failed (after 5ms in state "
    "SSL_HANDSHAKE)",
)
LOST = KafkaError(
    KafkaError._AUTHENTICATION,
    f"{WHERE}SASL SCRAM-SHA-512 mechanism handshake failed: Local: Broker transport failure: "
    "broker's supported mechanisms: (n/a) (after 0ms in state DOWN)",
)
DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
AWAY = KafkaError(KafkaError._TRANSPORT, "Connection refused")


class Telling:
    """A client that has these errors to tell, again at each look."""

    def __init__(self, admission: Admission, errors: Sequence[KafkaError]) -> None:
        self._admission, self._errors = admission, errors

    def poll(self, timeout: float) -> int:
        for error in self._errors:
            self._admission.note(error)
        return len(self._errors)


def result(*errors: KafkaError, future: Future[int] | None = None, timeout_s: float = 30) -> int:
    admission = Admission()
    client = Telling(admission, errors)
    return admission.result(client, future or Future(), timeout_s, "listing topics")


@pytest.mark.parametrize(
    ("error", "said", "hint"),
    [
        (PASSWORD, "refuses who we are", "sasl.password"),
        (CERTIFICATE, "certificate is not accepted", "ssl.ca.location"),
    ],
)
def test_turned_away_everywhere_is_said_at_once(error: KafkaError, said: str, hint: str) -> None:
    began_s = time.monotonic()
    with pytest.raises(ConfigError) as raised:
        result(error, DOWN)
    assert time.monotonic() - began_s < 5
    assert said in raised.value.message
    assert "listing topics" in raised.value.message
    assert "in state" not in raised.value.message
    assert hint in raised.value.hint


def test_while_another_broker_may_answer_it_is_waited_for() -> None:
    def late() -> int:
        time.sleep(0.2)
        return 7

    answer = asked(late)
    assert result(PASSWORD, future=answer) == 7
    with pytest.raises(ConfigError, match="refuses"):
        result(PASSWORD, timeout_s=0.1)


@pytest.mark.parametrize("error", [LOST, AWAY])
def test_a_broker_that_is_away_or_goes_away_refuses_nobody(error: KafkaError) -> None:
    with pytest.raises(TimeoutError):
        result(error, DOWN, timeout_s=0.2)


def test_a_call_that_ends_for_want_of_a_broker_says_why() -> None:
    timed_out: Future[int] = Future()
    timed_out.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
    with pytest.raises(ConfigError, match="refuses"):
        result(PASSWORD, future=timed_out)


def test_an_answer_is_an_answer_whatever_was_heard_beside_it() -> None:
    answered: Future[int] = Future()
    answered.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
    with pytest.raises(KafkaException):
        result(PASSWORD, DOWN, future=answered)


def test_what_a_call_before_heard_counts_no_more() -> None:
    admission = Admission()
    admission.note(PASSWORD)
    admission.note(DOWN)
    with pytest.raises(TimeoutError):
        admission.result(Telling(admission, ()), Future(), 0.2, "listing topics")


def test_what_a_call_in_a_thread_raises_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        asked(lambda: 1 // 0).result(5)
