"""The titles table as the migrations make it, and a few real films in it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from callsheet.schema import Column, Kind, TableSchema
from tests.support.batches import Row, upsert


def _money(name: str) -> Column:
    return Column(name, Kind.DECIMAL, precision=15, scale=2)


COLUMNS = (
    Column("title_id", Kind.INTEGER, nullable=False),
    Column("name", Kind.STRING, nullable=False),
    Column("kind", Kind.ENUM, nullable=False),
    Column("launch_date", Kind.DATE),
    _money("total_budget"),
    _money("us_gross"),
    _money("worldwide_gross"),
    Column("distributor", Kind.STRING),
    Column("genre", Kind.STRING),
    Column("rating", Kind.ENUM),
    Column("director", Kind.STRING),
    Column("running_time_minutes", Kind.INTEGER),
    Column("score", Kind.DECIMAL, precision=3, scale=1),
    Column("votes", Kind.INTEGER),
    Column("critics_percent", Kind.INTEGER),
    Column("markets", Kind.SET, nullable=False),
    Column("is_released", Kind.INTEGER, nullable=False),
    Column("synopsis", Kind.STRING),
    Column("attributes", Kind.JSON),
    Column("updated_at", Kind.TIMESTAMP, nullable=False),
    Column("id", Kind.INTEGER),
)


def titles_schema(database: str = "finance") -> TableSchema:
    return TableSchema("studio", database, "titles", COLUMNS, ("title_id",), "titles-1")


def a_title(title_id: int, name: str, **values: Any) -> Row:
    known = {
        "title_id": title_id,
        "kind": "film",
        "markets": "domestic,international",
        "is_released": 1,
        "attributes": '{"source": "Original Screenplay"}',
        "updated_at": "2026-11-23T00:15:13.123456Z",
    }
    return upsert(title_id, **{**known, "name": name, **values})


def _film(n: int, name: str, year: int, budget: str, gross: str, **values: Any) -> Row:
    money = {"total_budget": Decimal(budget), "worldwide_gross": Decimal(gross)}
    return a_title(n, name, launch_date=date(year, 6, 15), **money, **values)


FILMS = (
    _film(1, "Stranger Than Fiction", 2006, "30000000.00", "53653224.00",
          genre="Comedy", director="Marc Forster", distributor="Sony Pictures", rating="PG-13"),
    _film(2, "The Stranger", 2010, "60000000.01", "278731369.99",
          genre="Drama", director="Robert Connolly", distributor="Universal"),
    _film(3, "Strangers on a Train", 1951, "1200000.00", "7000000.00",
          genre="Thriller", director="Alfred Hitchcock", distributor="Warner Bros."),
    _film(4, "Amélie's Running", 2012, "99999999.99", "100000000.00",
          genre="Romantic Comedy", director="Jean-Pierre Jeunet", rating="R",
          synopsis="A shy waitress decides to change the lives of strangers around her."),
    _film(5, "The Who", 2015, "5000.50", "0.10", kind="documentary", genre="Documentary"),
    a_title(6, "It", genre="Horror", kind="series"),
)  # fmt: skip
