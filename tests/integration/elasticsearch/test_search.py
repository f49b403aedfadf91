"""`callsheet search` and the titles index on the real server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import typer
from elasticsearch import Elasticsearch
from typer.testing import CliRunner

from callsheet.cli.search import search as command
from callsheet.errors import PreconditionError
from callsheet.ports import Deadline, SystemClock
from sinks.elasticsearch.search import CLOSE, OPEN, Found, TitleQuery, search
from tests.support.batches import a_batch
from tests.support.elastic import a_sink
from tests.support.titles import FILMS, titles_schema

CONFIG = Path(__file__).parents[3] / "cdc-config"


@pytest.fixture(scope="module")
def index(stack_env: dict[str, str], client: Elasticsearch) -> Iterator[str]:
    """An alias of its own, made by the sink with the shipped mapping file."""
    alias = f"search{uuid4().hex[:10]}-titles"
    sink = a_sink(
        stack_env["CALLSHEET_ELASTICSEARCH_URL"],
        config_dir=str(CONFIG),
        index=alias.replace("titles", "{table}"),
        server_types="ask",
        request_timeout_seconds=30,
    )
    sink.open()
    deadline = Deadline.after(SystemClock(), 60)
    sink.write(a_batch(FILMS, titles_schema()), deadline)
    sink.flush(deadline)
    progress = sink.progress()
    sink.close()
    assert [r.detail for r in progress.rejections] == []
    client.indices.refresh(index=alias)
    yield alias
    client.indices.delete(index=f"{alias}-v1")


Ask = Callable[..., Found]


@pytest.fixture
def ask(client: Elasticsearch, index: str) -> Ask:
    return lambda text="", **filters: search(client, index, TitleQuery(text, **filters))


def ids(found: Found) -> list[str]:
    return [hit.id for hit in found.hits]


def test_a_filter_for_what_no_title_has_is_told_with_what_there_is(ask: Ask) -> None:
    (unknown,) = ask("stranger", kinds=["movie"], genres=["DRAMA"]).unknown
    assert (unknown.filter, unknown.value) == ("kind", "movie")
    assert "film" in unknown.known
    assert ask("no such words", kinds=["film"]).unknown == []
    assert ask("stranger", kinds=["film", "movie"]).unknown == ()


def test_the_exact_title_comes_first(ask: Ask) -> None:
    found = ask("the stranger")
    assert ids(found)[0] == "2"
    assert found.hits[0].highlights["name"] == f"{OPEN}The Stranger{CLOSE}"


def test_english_forms_are_one_word(ask: Ask) -> None:
    assert set(ids(ask("stranger"))) == {"1", "2", "3", "4"}
    assert ids(ask("runs")) == ["4"]


def test_accents_do_not_matter(ask: Ask) -> None:
    assert ids(ask("amelie")) == ["4"]


def test_small_words_are_titles_too(ask: Ask) -> None:
    assert ids(ask("the who")) == ["5"]
    assert ids(ask("it"))[0] == "6"


def test_it_finds_while_one_types(ask: Ask) -> None:
    for typed in ("str", "stra", "stranger t", "stranger than fic"):
        assert "1" in ids(ask(typed)), typed
    assert "3" in ids(ask("hitch"))


def test_words_may_come_from_several_fields(ask: Ask) -> None:
    assert ids(ask("strangers hitchcock")) == ["3"]
    assert ids(ask("stranger universal")) == ["2"]


def test_what_is_in_the_synopsis_is_found_and_shown(ask: Ask) -> None:
    (hit,) = ask("waitress").hits
    assert f"{OPEN}waitress{CLOSE}" in hit.highlights["synopsis"]


def test_nothing_is_found_for_nonsense(ask: Ask) -> None:
    found = ask("zzyzx")
    assert (found.total, list(found.hits)) == (0, [])


@pytest.fixture
def run(
    index: str, stack_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    for name, value in stack_env.items():
        monkeypatch.setenv(name, value)
    app = typer.Typer()
    app.command()(command)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "--index", index], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


def found_ids(output: str) -> list[str]:
    answer: dict[str, Any] = json.loads(output)
    return [hit["id"] for hit in answer["hits"]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--budget-over", "60M"], {"2", "4"}),
        (["--budget-over", "60000000.01"], {"4"}),
        (["--budget-over", "60e6", "--budget-under", "99_999_999.99"], {"2"}),
        (["--gross-under", "$1"], {"5"}),
        (["--launched-after", "2010-06-15"], {"4", "5"}),
        (["--launched-after", "2010-06-14", "--launched-before", "2012-06-15"], {"2"}),
        (["--kind", "documentary", "--kind", "series"], {"5", "6"}),
        (["--genre", "romantic comedy"], {"4"}),
        (["--rating", "PG-13"], {"1"}),
        (["stranger", "--kind", "film", "--budget-over", "50e6"], {"2", "4"}),
    ],
)
def test_filters_and_ranges(
    run: Callable[..., str], arguments: list[str], expected: set[str]
) -> None:
    assert set(found_ids(run(*arguments, "--json"))) == expected


def test_without_words_the_newest_come_first(run: Callable[..., str]) -> None:
    assert found_ids(run("--json", "--limit", "3")) == ["5", "4", "2"]


def test_a_person_reads_exact_money_and_how_many(run: Callable[..., str]) -> None:
    output = run("stranger", "--limit", "1", "--budget-over", "60M")
    assert "2 titles in" in output
    assert "the first 1" in output
    assert "The Stranger" in output
    assert "budget $60,000,000.01 · gross $278,731,369.99" in output


def test_json_keeps_money_as_text_and_marks_matches(run: Callable[..., str]) -> None:
    (hit,) = json.loads(run("the stranger", "--limit", "1", "--json"))["hits"]
    assert hit["title"]["total_budget"] == "60000000.01"
    assert hit["highlights"]["name"] == "<em>The Stranger</em>"
    assert "_callsheet" not in hit["title"]


def test_sums_of_money_are_exact_from_source(client: Elasticsearch, index: str) -> None:
    from decimal import Decimal

    hits = client.search(index=index, size=100)["hits"]["hits"]
    values = [hit["_source"]["total_budget"] for hit in hits]
    total = sum((Decimal(value) for value in values if value is not None), Decimal(0))
    assert total == Decimal("191205000.50")


def test_the_requests_in_the_docs_work(client: Elasticsearch, index: str) -> None:
    text = (CONFIG.parent / "docs/search.md").read_text("utf-8")
    requests = re.findall(r"-d '(\{.*?\})'\n", text, re.DOTALL)
    assert len(requests) == 3
    answers = [client.search(index=index, **json.loads(request)) for request in requests]
    assert {hit["_id"] for hit in answers[0]["hits"]["hits"]} == {"1", "2", "4"}
    assert {hit["_id"] for hit in answers[1]["hits"]["hits"]} == {"1", "2", "3"}
    genres = answers[2]["aggregations"]["genres"]["buckets"]
    assert {bucket["key"] for bucket in genres} >= {"drama", "romantic comedy"}


def test_an_index_without_the_titles_mapping_is_named(client: Elasticsearch) -> None:
    plain = f"plain{uuid4().hex[:10]}"
    sorted_by = {"title_id": {"type": "long"}, "launch_date": {"type": "date"}}
    client.indices.create(
        index=plain, mappings={"properties": {"name": {"type": "text"}, **sorted_by}}
    )
    try:
        with pytest.raises(PreconditionError, match=r"has no field name\.prefix"):
            search(client, plain, TitleQuery("stranger"))
        assert search(client, plain, TitleQuery("", kinds=["film"])).total == 0
    finally:
        client.indices.delete(index=plain)
