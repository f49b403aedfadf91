"""Whether the brokers let an admin client in, and whether it takes them for who they say they are.

librdkafka knocks on and on, and its calls end in time-outs as if nobody were there. Why, it tells
beside them, to who listens.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException

from callsheet.errors import ConfigError
from callsheet.kafka.faults import ADMIN_DEFAULTS, is_refusal
from callsheet.ports import Clock, Deadline, SystemClock

_T = TypeVar("_T")
_LOOK_S: Final = 0.05
_WHO_WE_ARE: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - librdkafka's spelling
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
    }
)
_UNTRUSTED: Final = "certificate verify failed"
"""OpenSSL's words: the code is at first that of any broken connection."""
_CIRCUMSTANCES: Final = re.compile(r" \(after \d+ms in state \w+\)$")


class Client(Protocol):
    """Serves what the client has to tell."""

    def poll(self, timeout: float) -> int: ...


class Admission:
    """Of one client; see :meth:`heard_of`."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._refusal: KafkaError | None = None
        self._is_nobody_left = False

    def heard_of(self, settings: Mapping[str, str]) -> dict[str, Any]:
        """The settings of a client that tells us what it cannot tell its callers."""
        return {**ADMIN_DEFAULTS, **settings, "error_cb": self.note}

    def note(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._is_nobody_left = True
        elif _UNTRUSTED in error.str() or (error.code() in _WHO_WE_ARE and is_refusal(error)):
            self._refusal = error

    def result(self, client: Client, future: Future[_T], timeout_s: float, doing: str) -> _T:
        """Of a call of this client's.

        Raises:
            ConfigError: one broker turns us away, or we it, and no other is there.
            TimeoutError: as the future's own.
            KafkaException: the call's own.
        """
        self._begin()
        deadline = Deadline.after(self._clock, timeout_s)
        while True:
            try:
                return future.result(min(_LOOK_S, deadline.remaining_s()))
            except TimeoutError:
                client.poll(0)
                refusal = self._heard(or_any=deadline.expired())
                if refusal is not None:
                    raise _refused(refusal, doing) from None
                if deadline.expired():
                    raise
            except KafkaException as error:
                client.poll(0)
                refusal = self._heard(or_any=True)
                # What a broker says has no code below zero; it has let us in.
                if refusal is not None and error.args[0].code() < 0:
                    raise _refused(refusal, doing) from error
                raise

    def _begin(self) -> None:
        self._refusal, self._is_nobody_left = None, False

    def _heard(self, *, or_any: bool) -> KafkaError | None:
        """What no other broker makes up for; ``or_any``: or what one alone has said."""
        return self._refusal if self._is_nobody_left or or_any else None


def asked(call: Callable[[], _T]) -> Future[_T]:
    """A blocking call in a thread, so that somebody can listen meanwhile."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised by who waits
            future.set_exception(error)

    threading.Thread(target=run, name="kafka-asked", daemon=True).start()
    return future


def _refused(error: KafkaError, doing: str) -> ConfigError:
    cause = _CIRCUMSTANCES.sub("", error.str())
    if _UNTRUSTED in cause:
        return ConfigError(
            f"Kafka's certificate is not accepted ({doing}): {cause}",
            hint="name the file (PEM) of the authority that signed it as ssl.ca.location under "
            "kafka.properties in the pipeline file; for doctor and connectors it is "
            "CALLSHEET_KAFKA_SSL_CA_FILE. The brokers' addresses must be in the certificate.",
        )
    return ConfigError(
        f"Kafka refuses who we are ({doing}): {cause}",
        hint="look at sasl.mechanism, sasl.username and sasl.password under kafka.properties in "
        "the pipeline file; for doctor and connectors they are CALLSHEET_KAFKA_SASL_*.",
    )
