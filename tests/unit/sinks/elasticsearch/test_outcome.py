"""Recorded answers of Elasticsearch 9.4 to bulk operations, and what each means."""

from __future__ import annotations

from typing import Any

import pytest

from sinks.elasticsearch.outcome import Item, Outcome, classify, described, outcomes

NAMES = frozenset({"launch_date", "total_budget", "name"})


def failed(status: int, kind: str, reason: str, cause: str = "") -> dict[str, Any]:
    error: dict[str, Any] = {"type": kind, "reason": reason}
    if cause:
        error["caused_by"] = {"type": cause, "reason": "failed to parse date field [secret]"}
    return {"index": {"status": status, "error": error}}


PARSING = failed(
    400,
    "document_parsing_exception",
    "[1:87] failed to parse field [launch_date] of type [date] in document with id '42'. "
    "Preview of field's value: 'secret'",
    "illegal_argument_exception",
)
STRICT = failed(
    400,
    "strict_dynamic_mapping_exception",
    "[1:6] mapping set to strict, dynamic introduction of [secret] within [_doc] is not allowed",
)
MISSING = failed(
    404,
    "index_not_found_exception",
    "no such index [finance-titles] and [require_alias] request flag is [true] and "
    "[finance-titles] is not an alias",
)
IMMENSE = failed(
    400,
    "illegal_argument_exception",
    'Document contains at least one immense term in field="name.keyword" (whose UTF8 encoding is '
    "longer than the max length 32766), all of which were skipped. Please correct the analyzer to "
    "not produce such terms.  The prefix of the first immense term is: '[115, 101, 99]...', "
    "original message: bytes can be at most 32766 in length; got 40000",
)
FLOOD = failed(
    429,
    "cluster_block_exception",
    "index [finance-titles-v1] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage "
    "watermark, index has read-only-allow-delete block];",
)


@pytest.mark.parametrize(
    ("item", "outcome"),
    [
        ({"index": {"status": 201}}, Outcome.WRITTEN),
        ({"index": {"status": 200}}, Outcome.WRITTEN),
        ({"delete": {"status": 404}}, Outcome.WRITTEN),
        (
            failed(
                409,
                "version_conflict_engine_exception",
                "[1]: version conflict, current version [5] is higher or equal to the one "
                "provided [3]",
            ),
            Outcome.STALE,
        ),
        (PARSING, Outcome.REJECTED),
        (STRICT, Outcome.REJECTED),
        (IMMENSE, Outcome.REJECTED),
        (failed(413, "content_too_long_exception", "too long"), Outcome.REJECTED),
        (failed(429, "es_rejected_execution_exception", "rejected execution"), Outcome.AGAIN),
        (FLOOD, Outcome.AGAIN),
        (
            failed(503, "unavailable_shards_exception", "[i][0] primary shard is not active"),
            Outcome.AGAIN,
        ),
        (failed(502, "x", "y"), Outcome.AGAIN),
        (failed(504, "process_cluster_event_timeout_exception", "timed out"), Outcome.AGAIN),
        (
            failed(403, "cluster_block_exception", "blocked by: [FORBIDDEN/8/index write]"),
            Outcome.AGAIN,
        ),
        (failed(500, "null_pointer_exception", "null"), Outcome.FAILED),
        (MISSING, Outcome.PARK),
        (failed(403, "security_exception", "action [x] is unauthorized"), Outcome.PARK),
    ],
)
def test_each_answer_has_one_meaning(item: dict[str, Any], outcome: Outcome) -> None:
    assert classify(item, NAMES).outcome is outcome


def test_a_detail_names_the_field_and_hides_the_value() -> None:
    assert classify(PARSING, NAMES).detail == (
        "document_parsing_exception: [1:87] failed to parse field [launch_date] of type [date]. "
        "(caused by illegal_argument_exception)"
    )


@pytest.mark.parametrize("item", [PARSING, STRICT, IMMENSE])
def test_no_detail_shows_a_value(item: dict[str, Any]) -> None:
    detail = classify(item, NAMES).detail
    assert "secret" not in detail
    assert "115" not in detail
    assert "'42'" not in detail


def test_values_in_quotes_and_brackets_are_masked_wherever_they_stand() -> None:
    error = {"type": "t", "reason": "value [1e400] of 'John' and \"Jane\" in [name.keyword] [long]"}
    assert described(error, NAMES) == "t: value […] of … and … in [name.keyword] [long]"


def test_a_multi_line_value_does_not_survive_its_preview() -> None:
    reason = (
        "failed to parse field [name] in document with id 'a\n'b'. Preview of field's value: 'x\ny'"
    )
    assert described({"type": "t", "reason": reason}, NAMES) == "t: failed to parse field [name]."


def test_all_written_needs_no_look_at_the_items() -> None:
    assert outcomes({"errors": False, "items": [{"index": {"status": 201}}] * 3}, 3) is None


def test_items_are_in_the_order_of_the_operations() -> None:
    body = {"errors": True, "items": [{"index": {"status": 201}}, PARSING]}
    found = outcomes(body, 2, lambda: NAMES)
    assert found is not None
    assert [item.outcome for item in found] == [Outcome.WRITTEN, Outcome.REJECTED]
    assert isinstance(found[0], Item)


@pytest.mark.parametrize("items", [[], [{"index": {"status": 201}}] * 2])
def test_an_answer_about_other_operations_is_none(items: list[Any]) -> None:
    with pytest.raises(ValueError, match="were answered"):
        outcomes({"errors": False, "items": items}, 3)
