from __future__ import annotations

from hashlib import sha256

from callsheet.codec.topics import DEFAULT_MAX_VALUE_BYTES
from callsheet.config.models import DeadLetterSettings
from callsheet.errors import Reason
from callsheet.kafka.dead_letters import (
    dead_letter_topic,
    fitted,
    letter_headers,
    original_place,
)
from tests.support.batches import RawMessage


def headers_of(message: RawMessage, detail: str = "why") -> list[tuple[str, bytes | None]]:
    return letter_headers(message, Reason.MALFORMED, detail, pipeline="search", version="1.2")


def test_a_letter_says_where_it_came_from_and_why() -> None:
    found = headers_of(RawMessage("t", 3, 77, _headers=(("own", b"x"), ("empty", None))))
    assert found[:2] == [("own", b"x"), ("empty", None)]
    assert dict(found[2:]) == {
        "callsheet.topic": b"t",
        "callsheet.partition": b"3",
        "callsheet.offset": b"77",
        "callsheet.timestamp_ms": b"1800000000000",
        "callsheet.timestamp_type": b"create",
        "callsheet.reason": b"malformed",
        "callsheet.detail": b"why",
        "callsheet.pipeline": b"search",
        "callsheet.version": b"1.2",
        "callsheet.count": b"1",
    }
    assert original_place(dict(found)) == ("t", 3, 77)


def test_a_letter_of_a_redriven_letter_counts_on_and_repeats_nothing() -> None:
    first = headers_of(RawMessage("t", 3, 77, _headers=(("own", b"x"),)))
    again = headers_of(RawMessage("t", 1, 5, _headers=tuple(first)))
    assert dict(again)["callsheet.count"] == b"2"
    assert original_place(dict(again)) == ("t", 1, 5)
    assert len(again) == len(first)


def test_a_count_that_is_none_starts_anew() -> None:
    for odd in (b"many", b"", None, "²".encode()):
        message = RawMessage("t", 0, 0, _headers=(("callsheet.count", odd),))
        assert dict(headers_of(message))["callsheet.count"] == b"1"


def test_a_long_detail_is_cut() -> None:
    detail = dict(headers_of(RawMessage("t", 0, 0), "é" * 5_000))["callsheet.detail"]
    assert detail is not None
    assert len(detail) == 4_096


def test_the_topic_keeps_letters_as_long_and_as_large_as_stated() -> None:
    topic = dead_letter_topic(
        "l", retention_hours=1.5, max_message_bytes=2_000_000, replication_factor=3
    )
    assert topic.config == {
        "cleanup.policy": "delete",
        "retention.ms": "5400000",
        "segment.ms": "5400000",
        "max.message.bytes": "2000000",
    }
    assert (topic.name, topic.partitions, topic.replication_factor) == ("l", 1, 3)


def test_whatever_is_decoded_fits_into_a_letter_by_default() -> None:
    value, key = b"v" * DEFAULT_MAX_VALUE_BYTES, b"k" * 3_072
    message = RawMessage("t", 3, 77, key, value, (("own", b"h" * 4_096),))
    headers = headers_of(message, "d" * 5_000)
    letter = fitted(message, headers, DeadLetterSettings().max_message_bytes)
    assert (letter.value, letter.key, letter.headers) == (value, key, headers)


def test_of_what_is_too_large_the_letter_says_where_it_is_and_what_it_was() -> None:
    value = b"\x00\x01" * 1_000_000
    message = RawMessage("t", 3, 77, b"key", value, (("own", b"x"),))
    letter = fitted(message, headers_of(message), 1_000_000)
    found = dict(letter.headers)
    assert (letter.value, letter.key, found["own"]) == (value[:4_096], b"key", b"x")
    assert found["callsheet.cut"] == b"value"
    assert found["callsheet.value_bytes"] == b"2000000"
    assert found["callsheet.value_sha256"] == sha256(value).hexdigest().encode()
    assert original_place(found) == ("t", 3, 77)
    assert letter.size_bytes < 1_000_000


def test_a_huge_key_and_huge_headers_are_cut_as_well_but_never_our_own() -> None:
    message = RawMessage("t", 3, 77, b"k" * 900_000, b"v", (("own", b"x" * 900_000),))
    letter = fitted(message, headers_of(message), 1 << 20)
    found = dict(letter.headers)
    assert (letter.value, letter.key) == (b"v", b"k" * 4_096)
    assert "own" not in found
    assert found["callsheet.cut"] == b"value, key, headers"
    assert original_place(found) == ("t", 3, 77)
    assert letter.size_bytes < 1 << 20


def test_a_cut_letter_never_passes_for_a_tombstone() -> None:
    message = RawMessage("t", 3, 77, b"k" * (2 << 20), None)
    assert fitted(message, headers_of(message), 1 << 20).value == b""
