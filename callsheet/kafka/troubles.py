"""What a Kafka client reports of its brokers, in few lines and plain words."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import KafkaError
from structlog.typing import FilteringBoundLogger

from callsheet.ports import Clock

QUIET_S = 60.0
_WORDS = {
    KafkaError._ALL_BROKERS_DOWN: "no kafka broker answers",  # noqa: SLF001 - librdkafka's spelling
    KafkaError._TRANSPORT: "a kafka broker does not answer",  # noqa: SLF001
    KafkaError._TIMED_OUT: "a kafka broker did not answer in time",  # noqa: SLF001
    KafkaError._RESOLVE: "a kafka broker's name is unknown",  # noqa: SLF001
    KafkaError._AUTHENTICATION: "a kafka broker refuses who we are",  # noqa: SLF001
    KafkaError._SSL: "a kafka broker's TLS does not work",  # noqa: SLF001
    KafkaError.NOT_LEADER_FOR_PARTITION: "kafka partitions change their leader",
    KafkaError.LEADER_NOT_AVAILABLE: "kafka partitions have no leader",
    KafkaError.COORDINATOR_NOT_AVAILABLE: "the kafka group has no coordinator",
    KafkaError._WAIT_COORD: "the kafka group has no coordinator",  # noqa: SLF001
}
_OTHERWISE = "kafka client in trouble"


@dataclass(slots=True)
class _Told:
    at_s: float
    unsaid: int = 0


class ClientTroubles:
    """The client repeats itself several times a second, for each broker and as long as an outage
    lasts. One kind of trouble is one line; the next one of that kind, ``QUIET_S`` later at the
    earliest, says how many were left unsaid in between.

    Not reset when records come: with one broker of three away they never stop coming.
    """

    def __init__(self, log: FilteringBoundLogger, clock: Clock) -> None:
        self._log, self._clock = log, clock
        self._told: dict[int, _Told] = {}

    def note(self, error: KafkaError) -> None:
        code, now_s = error.code(), self._clock.monotonic()
        told = self._told.get(code)
        if told is not None and now_s < told.at_s + QUIET_S:
            told.unsaid += 1
            return
        self._told[code] = _Told(now_s)
        repeats = {"unsaid": told.unsaid} if told is not None and told.unsaid else {}
        self._log.warning(
            _WORDS.get(code, _OTHERWISE), cause=error.str(), code=error.name(), **repeats
        )
