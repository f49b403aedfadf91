"""``callsheet search``: titles by words, money and dates."""

from __future__ import annotations

import os
import re
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from callsheet.cli import console
from callsheet.errors import UsageError

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from sinks.elasticsearch.search import Found, Hit

_UNITS: Final = {"": 1, "K": 1_000, "M": 1_000_000, "B": 1_000_000_000}
_AMOUNT: Final = re.compile(r"\$?(\d[\d_,]*(?:\.\d+)?(?:E\+?\d{1,2})?)([KMB]?)", re.IGNORECASE)
_DAY: Final = ["%Y-%m-%d"]
_FILTERS: Final = "Filters (each may be left out; a bound itself is not included)"


def search(  # noqa: PLR0917 - typer turns each into an option
    text: Annotated[str, typer.Argument(help="Words of the title, director or synopsis.")] = "",
    kind: Annotated[
        list[str] | None, typer.Option(help="film, series, …", rich_help_panel=_FILTERS)
    ] = None,
    genre: Annotated[
        list[str] | None, typer.Option(help="Drama, …", rich_help_panel=_FILTERS)
    ] = None,
    rating: Annotated[
        list[str] | None, typer.Option(help="PG-13, …", rich_help_panel=_FILTERS)
    ] = None,
    budget_over: Annotated[
        str | None, typer.Option(help="50e6, 50M or 50_000_000", rich_help_panel=_FILTERS)
    ] = None,
    budget_under: Annotated[str | None, typer.Option(rich_help_panel=_FILTERS)] = None,
    gross_over: Annotated[
        str | None, typer.Option(help="Worldwide.", rich_help_panel=_FILTERS)
    ] = None,
    gross_under: Annotated[str | None, typer.Option(rich_help_panel=_FILTERS)] = None,
    launched_after: Annotated[
        datetime | None, typer.Option(formats=_DAY, rich_help_panel=_FILTERS)
    ] = None,
    launched_before: Annotated[
        datetime | None, typer.Option(formats=_DAY, rich_help_panel=_FILTERS)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Titles to show.")] = 10,
    index: Annotated[str, typer.Option(help="Index or alias of titles.")] = "finance-titles",
    as_json: console.Json = False,
) -> None:
    """Search the titles.

    Example: callsheet search "stranger" --kind film --budget-over 10e6 --launched-after 2000-01-01
    """
    from sinks.elasticsearch.search import Between, TitleQuery
    from sinks.elasticsearch.search import search as ask

    query = TitleQuery(
        text=text,
        kinds=[each.lower() for each in kind or ()],
        genres=genre or (),
        ratings=rating or (),
        budget=Between(_amount(budget_over), _amount(budget_under)),
        gross=Between(_amount(gross_over), _amount(gross_under)),
        launch=Between(_day(launched_after), _day(launched_before)),
        limit=limit,
    )
    with _client() as client:
        found = ask(client, index, query)
    console.emit(as_json, _plain(found), lambda out: _draw(out, found))


def _amount(text: str | None) -> Decimal | None:
    """``50e6``, ``50M``, ``50_000_000`` and ``$50,000,000`` are all the same."""
    if text is None:
        return None
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no amount of money", hint="write 50e6, 50M or 50_000_000")
    number = Decimal(match[1].replace("_", "").replace(",", ""))
    amount = number * _UNITS[match[2].upper()]
    return Decimal(format(amount, "f"))  # plain notation: a range takes no 5E+7


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def _client() -> Elasticsearch:
    from sinks.elasticsearch.client import connect
    from sinks.elasticsearch.settings import ElasticsearchSettings

    def given(name: str) -> str | None:
        return os.environ.get(f"CALLSHEET_ELASTICSEARCH_{name}") or None

    settings: dict[str, Any] = {
        "hosts": [given("URL") or "http://127.0.0.1:19200"],
        "api_key": given("API_KEY"),
        "username": given("USERNAME"),
        "password": given("PASSWORD"),
        "tls": {"ca_file": given("CA_FILE")},
    }
    try:
        return connect(ElasticsearchSettings.model_validate(settings))
    except ValueError as error:
        raise UsageError(
            "the CALLSHEET_ELASTICSEARCH_* variables do not fit together",
            hint="URL is http(s)://host:port; USERNAME and PASSWORD go together; CA_FILE needs "
            "https",
        ) from error


# --- output ---------------------------------------------------------------------------------------


def _plain(found: Found) -> dict[str, Any]:
    from sinks.elasticsearch.search import CLOSE, OPEN

    return {
        "total": found.total,
        "took_ms": found.took_ms,
        "unknown": [
            {"filter": each.filter, "value": each.value, "known": list(each.known)}
            for each in found.unknown
        ],
        "hits": [
            {
                "id": hit.id,
                "score": hit.score,
                "title": hit.values,
                "highlights": {
                    name: text.replace(OPEN, "<em>").replace(CLOSE, "</em>")
                    for name, text in hit.highlights.items()
                },
            }
            for hit in found.hits
        ],
    }


def _draw(out: Console, found: Found) -> None:
    if not found.total:
        out.print(f"No title matches ({found.took_ms} ms).")
        for each in found.unknown:
            known = f"there are {', '.join(each.known)}" if each.known else "no title has one"
            out.print(Text(f"No title has the {each.filter} {each.value!r}: {known}."))
        return
    noun = "title" if found.total == 1 else "titles"
    shown = f", the first {len(found.hits)}" if found.total > len(found.hits) else ""
    out.print(f"[bold]{found.total:,}[/] {noun} in {found.took_ms} ms{shown}")
    for hit in found.hits:
        out.print()
        for line in _lines(hit):
            out.print(line)


def _lines(hit: Hit) -> list[Text]:
    values = hit.values
    facts = (values.get("kind"), values.get("launch_date") or "no date yet", values.get("rating"))
    head = Text.assemble(
        _marked(hit.shown("name"), "bold"), "  ", (" · ".join(filter(None, facts)), "dim")
    )
    people = _joined([hit.shown("genre"), hit.shown("director"), hit.shown("distributor")])
    money = _joined(
        [
            f"{word} {money_text(values[name])}"
            for word, name in (("budget", "total_budget"), ("gross", "worldwide_gross"))
            if values.get(name) is not None
        ]
    )
    synopsis = _marked(hit.highlights.get("synopsis", ""))
    return [head, *(Text("  ") + line for line in (people, money, synopsis) if line.plain)]


def _joined(parts: list[str]) -> Text:
    return Text(" · ").join([_marked(part) for part in parts if part])


def _marked(text: str, style: str = "") -> Text:
    """A text whose matches are underlined and coloured."""
    from sinks.elasticsearch.search import CLOSE, OPEN

    before, *rest = text.split(OPEN)
    marked = Text(before, style)
    for part in rest:
        match, _, after = part.partition(CLOSE)
        marked.append(match, "bold yellow underline")
        marked.append(after, style)
    return marked


def money_text(exact: str) -> str:
    """US dollars with every digit that is stored."""
    sign, digits = ("-", exact[1:]) if exact.startswith("-") else ("", exact)
    whole, dot, cents = digits.partition(".")
    return f"{sign}${int(whole):,}{dot}{cents}"
