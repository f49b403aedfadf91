"""What each answer to a transaction's calls means."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from callsheet.errors import ConfigError, FatalError
from callsheet.kafka.verdicts import Verdict, stopping, verdict


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (KafkaError(KafkaError._TIMED_OUT, "", retriable=True), Verdict.AGAIN),
        (KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE, "", retriable=True), Verdict.AGAIN),
        (KafkaError(KafkaError._INCONSISTENT, "", txn_requires_abort=True), Verdict.ABORT),
        (KafkaError(KafkaError.ILLEGAL_GENERATION, "", txn_requires_abort=True), Verdict.ABORT),
        (KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "", txn_requires_abort=True), Verdict.ABORT),
        (KafkaError(KafkaError._STATE, ""), Verdict.ABORT),
        (KafkaError(KafkaError._FENCED, "", fatal=True), Verdict.STOP),
        (KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, "", txn_requires_abort=True), Verdict.STOP),
        (KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "", txn_requires_abort=True), Verdict.STOP),
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, ""), Verdict.STOP),
    ],
    ids=lambda value: value.name() if isinstance(value, KafkaError) else value.name,
)
def test_verdicts(error: KafkaError, meaning: Verdict) -> None:
    assert verdict(error) is meaning


def test_who_was_replaced_is_told_so_and_what_to_do() -> None:
    error = stopping(KafkaError(KafkaError._FENCED, "", fatal=True), "committing")
    assert isinstance(error, FatalError)
    assert "taken over" in error.message
    assert "instance_id" in error.hint


def test_a_missing_right_is_for_a_human() -> None:
    refused = KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "")
    assert isinstance(stopping(refused, "opening"), ConfigError)
