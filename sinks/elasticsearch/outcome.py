"""What became of each operation of a bulk request: pure functions over the server's answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Outcome(StrEnum):
    WRITTEN = "written"
    STALE = "stale"
    """The index already has this version or a newer one."""
    REJECTED = "rejected"
    """This document will never be taken."""
    AGAIN = "again"
    """Not now: load, or a shard on its way."""
    FAILED = "failed"
    """The server broke on it (HTTP 500): again, but not for ever; it may be the document."""
    PARK = "park"
    """The whole table cannot be written: its alias is gone, or we lost the right to."""


@dataclass(frozen=True, slots=True)
class Item:
    outcome: Outcome
    detail: str = ""


WRITTEN: Final = Item(Outcome.WRITTEN)
STALE: Final = Item(Outcome.STALE)

_MISSING: Final = frozenset({"index_not_found_exception", "alias_not_found_exception"})
_OVERLOAD: Final = frozenset({408, 429, 502, 503, 504})


def classify(item: Mapping[str, Any], names: Collection[str] = ()) -> Item:  # noqa: PLR0911 - one return per outcome is the clearest table
    """One element of a bulk answer's ``items``: ``{"index": {"status": 201}}``.

    ``names`` are the identifiers that may stand in a detail (columns); anything else that the
    server quotes may be a row's value and is masked.
    """
    answer: Mapping[str, Any] = next(iter(item.values()))
    status: int = answer["status"]
    error = answer.get("error")
    if error is None:
        # A delete of a document that is not there is 404 without an error: the state is reached.
        return WRITTEN
    kind = str(error.get("type"))
    if status == 409 and kind == "version_conflict_engine_exception":
        return STALE
    detail = described(error, names)
    if status == 404 and kind in _MISSING:
        return Item(Outcome.PARK, detail)
    if kind == "security_exception":
        return Item(Outcome.PARK, detail)
    if status in _OVERLOAD or status == 409 or kind == "cluster_block_exception":
        return Item(Outcome.AGAIN, detail)
    if status >= 500:
        return Item(Outcome.FAILED, detail)
    return Item(Outcome.REJECTED, detail)


def outcomes(
    body: Mapping[str, Any], sent: int, names: Callable[[], Collection[str]] = frozenset
) -> Sequence[Item] | None:
    """Item by item, or None when all were written. ``names`` is asked only when one was not.

    Raises:
        ValueError: the answer is not about the ``sent`` operations.
    """
    items = body.get("items", ())
    if len(items) != sent:
        raise ValueError(f"{sent} operations were sent, {len(items)} were answered")
    if body.get("errors") is False:
        return None
    known = names()
    return [classify(item, known) for item in items]


# --- the server's words, without the row's values -------------------------------------------------

_PREVIEW: Final = re.compile(r"\s*Preview of field's value:.*\Z", re.DOTALL)
_DOCUMENT: Final = re.compile(r" in document with id '.*?'(?=[.\s]|\Z)", re.DOTALL)
_LOUD: Final = re.compile(r"(original message|prefix of the first immense term is):.*\Z", re.DOTALL)
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_BRACKETED: Final = re.compile(r"\[([^\[\]]*)\]")
_PLACE: Final = re.compile(r"\d+:\d+")
_WORDS: Final = frozenset({
    "alias", "binary", "boolean", "byte", "date", "date_nanos", "dense_vector", "disabled",
    "double", "flattened", "float", "geo_point", "geo_shape", "half_float", "index", "integer",
    "keyword", "long", "nested", "object", "scaled_float", "short", "strict", "text", "true",
    "unsigned_long", "wildcard", "_doc", "require_alias",
})  # fmt: skip


def described(error: Mapping[str, Any], names: Collection[str] = ()) -> str:
    """``type: reason (caused by type)``, in which only known identifiers are left in brackets."""
    reason = str(error.get("reason") or "")
    for cut in (_PREVIEW, _DOCUMENT, _LOUD):
        reason = cut.sub("", reason)

    def kept(match: re.Match[str]) -> str:
        inner = match[1]
        is_known = inner in _WORDS or inner in names or inner.split(".")[0] in names
        return match[0] if is_known or _PLACE.fullmatch(inner) else "[…]"

    reason = _BRACKETED.sub(kept, _QUOTED.sub("…", reason))
    cause = (error.get("caused_by") or {}).get("type")
    tail = f" (caused by {cause})" if cause else ""
    return f"{error.get('type')}: {' '.join(reason.split())}{tail}"[:500]
