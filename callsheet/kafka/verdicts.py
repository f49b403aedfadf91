"""What an error of the transactional client means: one function, no I/O."""

from __future__ import annotations

from enum import Enum, auto

from confluent_kafka import KafkaError

from callsheet.errors import CallsheetError, ConfigError, FatalError
from callsheet.kafka.faults import REFUSED

# librdkafka spells its local errors with a leading underscore.
_SUCCEEDED = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
    }
)
_HOPELESS = frozenset(
    {
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.INVALID_TRANSACTION_TIMEOUT,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_MSG,
        KafkaError._UNSUPPORTED_FEATURE,  # noqa: SLF001
    }
)
"""Tried again they end the same way: a human must change something."""


class Verdict(Enum):
    AGAIN = auto()
    """The same call may be repeated, and goes on where it stood."""
    ABORT = auto()
    """The transaction is lost; the next one may do."""
    STOP = auto()


def verdict(error: KafkaError) -> Verdict:
    code = error.code()
    if error.fatal() or code in _SUCCEEDED or code in _HOPELESS or code in REFUSED:
        return Verdict.STOP
    if error.retriable() and not error.txn_requires_abort():
        return Verdict.AGAIN
    return Verdict.ABORT


def stopping(error: KafkaError, doing: str) -> CallsheetError:
    """The error of our own for a verdict of STOP."""
    code, text = error.code(), f"{doing}: {error.str()}"
    if code in _SUCCEEDED:
        return FatalError(
            f"{doing}: another worker has taken over this one's transactions",
            hint="if nobody else was started on purpose, give each host its own "
            "kafka.instance_id; nothing of this worker's open transaction is seen by anybody",
        )
    if code in REFUSED or code == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return ConfigError(
            text,
            hint="grant this client Write on the topics and Write and Describe on its "
            "transactional ids; look at kafka.properties in the pipeline file",
        )
    return FatalError(text, hint="the offsets are kept; start the worker again")
