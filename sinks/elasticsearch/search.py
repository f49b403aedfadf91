"""The search that ``callsheet search`` makes: a title index, made for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Final

from elastic_transport import ApiError, TlsError, TransportError
from elasticsearch import Elasticsearch

from callsheet.errors import CallsheetError, PreconditionError, UnavailableError
from callsheet.ports import SystemClock
from sinks.elasticsearch.client import reason_of, translated
from sinks.elasticsearch.fields import META

OPEN: Final = "\ue000"
CLOSE: Final = "\ue001"
"""Marks of a highlight: private-use characters, which no title contains."""

_HIGHLIGHTED: Final[Mapping[str, Sequence[str]]] = {
    "name": ("name.words", "name", "name.prefix"),
    "director": ("director", "director.prefix"),
    "distributor": ("distributor",),
    "genre": ("genre",),
    "synopsis": ("synopsis",),
}
"""Field of a hit, and the index fields whose highlight shows it, the closest match first."""

_FIELDS: Final[Mapping[str, str]] = {"kind": "kind", "genre": "genre.keyword", "rating": "rating"}
"""Filter and the index field whose value it must be."""

_MOST_VALUES: Final = 20
"""That are named to somebody who asked for one that no title has."""

_TELLTALE: Final = "name.prefix"
"""Only the titles' own mapping makes it."""


@dataclass(frozen=True, slots=True)
class Between:
    """An open range: both ends excluded, either may be absent."""

    over: Decimal | date | None = None
    under: Decimal | date | None = None

    def clause(self, name: str) -> list[dict[str, Any]]:
        ends = {"gt": self.over, "lt": self.under}
        bounds = {key: str(end) for key, end in ends.items() if end is not None}
        return [{"range": {name: bounds}}] if bounds else []


@dataclass(frozen=True, slots=True)
class TitleQuery:
    """What somebody is looking for. Without ``text`` the filters alone choose, newest first."""

    text: str = ""
    kinds: Sequence[str] = ()
    genres: Sequence[str] = ()
    ratings: Sequence[str] = ()
    budget: Between = field(default_factory=Between)
    gross: Between = field(default_factory=Between)
    launch: Between = field(default_factory=Between)
    limit: int = 10

    def body(self) -> dict[str, Any]:
        """The request, to be sent as it is by any client."""
        text = self.text.strip()
        body: dict[str, Any] = {
            "size": self.limit,
            "track_total_hits": True,
            "query": {"bool": {"filter": self._filters()}},
            "highlight": _highlight(),
        }
        if text:
            body["query"]["bool"] |= {"should": _matches(text), "minimum_should_match": 1}
        else:
            body["sort"] = [{"launch_date": {"order": "desc", "missing": "_last"}}, "title_id"]
        return body

    def chosen(self) -> dict[str, Sequence[str]]:
        """The filters by value that there are."""
        wanted = {"kind": self.kinds, "genre": self.genres, "rating": self.ratings}
        return {name: values for name, values in wanted.items() if values}

    def _filters(self) -> list[dict[str, Any]]:
        return [
            *({"terms": {_FIELDS[name]: list(values)}} for name, values in self.chosen().items()),
            *self.budget.clause("total_budget"),
            *self.gross.clause("worldwide_gross"),
            *self.launch.clause("launch_date"),
        ]


def _matches(text: str) -> list[dict[str, Any]]:
    """From the whole title down to a word of the synopsis; each step counts less."""

    def words(name: str, boost: float) -> dict[str, Any]:
        return {"match": {name: {"query": text, "operator": "and", "boost": boost}}}

    across = {
        "query": text,
        "type": "cross_fields",
        "operator": "and",
        "fields": ["name.words^3", "director^2", "distributor", "genre"],
    }
    return [
        {"term": {"name.exact": {"value": text, "boost": 20}}},
        {"match_phrase": {"name.words": {"query": text, "boost": 6}}},
        {"multi_match": across},
        words("name", 3),
        words("name.prefix", 2),
        words("director.prefix", 1),
        words("synopsis", 1),
    ]


def _highlight() -> dict[str, Any]:
    names = [name for group in _HIGHLIGHTED.values() for name in group]
    return {
        "pre_tags": [OPEN],
        "post_tags": [CLOSE],
        "number_of_fragments": 0,
        "fields": {name: {} for name in names}
        | {"synopsis": {"number_of_fragments": 1, "fragment_size": 160}},
    }


@dataclass(frozen=True, slots=True)
class Hit:
    """One title. ``values`` are as stored: money is an exact string."""

    id: str
    score: float | None
    values: Mapping[str, Any]
    highlights: Mapping[str, str]
    """Per field its text with the matches between ``OPEN`` and ``CLOSE``."""

    def shown(self, name: str) -> str:
        """The field's text, with marks where it matched."""
        value = self.values.get(name)
        return self.highlights.get(name) or ("" if value is None else str(value))


@dataclass(frozen=True, slots=True)
class Unknown:
    """A filter's value that no title has, and those that some have, the most frequent first."""

    filter: str
    value: str
    known: Sequence[str]


@dataclass(frozen=True, slots=True)
class Found:
    total: int
    took_ms: int
    hits: Sequence[Hit]
    unknown: Sequence[Unknown] = ()
    """Told when nothing was found."""


def search(client: Elasticsearch, index: str, query: TitleQuery) -> Found:
    """Ask for titles.

    Raises:
        UnavailableError: the server does not answer, or there is no such index yet.
        PreconditionError: it does not let us search, or the index is not one of titles.
    """
    try:
        answer = client.search(index=index, **query.body())
        total = answer["hits"]["total"]["value"]
        is_plain = not total and query.text.strip() and _is_plain(client, index)
        unknown = () if total or is_plain else _unknown(client, index, query)
    except (ApiError, TransportError) as error:
        raise _explained(error, index) from error
    if is_plain:
        raise _not_of_titles(index, f"it has no field {_TELLTALE}")
    return Found(
        total=total,
        took_ms=answer["took"],
        hits=[_hit(hit) for hit in answer["hits"]["hits"]],
        unknown=unknown,
    )


def _unknown(client: Elasticsearch, index: str, query: TitleQuery) -> list[Unknown]:
    """Which of the filters ask for what no title has at all."""
    chosen = query.chosen()
    if not chosen:
        return []
    aggregations: dict[str, Any] = {}
    for name, values in chosen.items():
        field = _FIELDS[name]
        aggregations[name] = {"terms": {"field": field, "size": _MOST_VALUES}}
        # By a query, which folds case and accents as the search itself does.
        each = [{"term": {field: value}} for value in values]
        aggregations[f"{name} asked"] = {"filters": {"filters": each}}
    found = client.search(index=index, size=0, aggs=aggregations)["aggregations"]
    return [
        Unknown(name, value, [str(bucket["key"]) for bucket in found[name]["buckets"]])
        for name, values in chosen.items()
        for value, asked in zip(values, found[f"{name} asked"]["buckets"], strict=True)
        if not asked["doc_count"]
    ]


def _is_plain(client: Elasticsearch, index: str) -> bool:
    """Was it made without the titles' mapping? A query of fields that are not there finds nothing,
    and Elasticsearch does not say why.
    """
    return _TELLTALE not in client.field_caps(index=index, fields=[_TELLTALE])["fields"]


def _not_of_titles(index: str, reason: str) -> PreconditionError:
    return PreconditionError(
        f"{index} cannot be searched for titles: {reason}",
        hint="name an index that was made with cdc-config/mappings/finance.titles.json; one that "
        "is older than the file is rebuilt (docs/elasticsearch.md)",
    )


def _hit(hit: Mapping[str, Any]) -> Hit:
    source = {name: value for name, value in hit["_source"].items() if name != META}
    marked: Mapping[str, Sequence[str]] = hit.get("highlight", {})
    highlights = {
        name: marked[closest][0]
        for name, group in _HIGHLIGHTED.items()
        if (closest := next((where for where in group if where in marked), None))
    }
    return Hit(hit["_id"], hit.get("_score"), source, highlights)


def _explained(error: ApiError | TransportError, index: str) -> CallsheetError:
    if isinstance(error, ApiError):
        if error.meta.status == 404:
            return UnavailableError(
                f"there is no index {index} yet",
                hint="fill it: `make demo`, or `callsheet run cdc-config/pipelines/search.yaml`",
            )
        if error.meta.status in {401, 403}:
            return PreconditionError(
                f"Elasticsearch does not let us search {index}: {reason_of(error)}",
                hint="set CALLSHEET_ELASTICSEARCH_API_KEY, or _USERNAME and _PASSWORD",
            )
        if error.meta.status == 400:
            return _not_of_titles(index, reason_of(error))
    known = translated(error, SystemClock())
    if isinstance(error, TlsError):
        return PreconditionError(
            known.message,
            hint="name the CA in CALLSHEET_ELASTICSEARCH_CA_FILE; write http:// in "
            "CALLSHEET_ELASTICSEARCH_URL if it speaks no TLS",
        )
    return UnavailableError(
        known.message,
        hint="is it running? `callsheet stack status`; its address is CALLSHEET_ELASTICSEARCH_URL",
    )
