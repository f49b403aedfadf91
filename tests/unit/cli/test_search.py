"""`callsheet search` without a server."""

from __future__ import annotations

from decimal import Decimal

import pytest
from rich.console import Console

from callsheet.cli import search as module
from callsheet.cli.search import _amount, money_text
from callsheet.errors import CallsheetError, PreconditionError, UnavailableError, UsageError
from sinks.elasticsearch.search import CLOSE, OPEN, Found, Unknown
from tests.support.elastic_stub import ElasticStub


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("50e6", "50000000"),
        ("50E+6", "50000000"),
        ("50M", "50000000"),
        ("1.5b", "1500000000.0"),
        ("2k", "2000"),
        ("$50,000,000", "50000000"),
        ("50_000_000.01", "50000000.01"),
        ("0", "0"),
    ],
)
def test_amounts_as_people_write_them(text: str, amount: str) -> None:
    found = _amount(text)
    assert found == Decimal(amount)
    assert "E" not in str(found)


@pytest.mark.parametrize("text", ["", "lots", "5x", "1.2.3", "-5", "NaN", "1e999", "_1"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no amount"):
        _amount(text)


@pytest.mark.parametrize(
    ("exact", "shown"),
    [("60000000.01", "$60,000,000.01"), ("-0.50", "-$0.50"), ("7", "$7"), ("0.00", "$0.00")],
)
def test_money_is_shown_with_every_digit(exact: str, shown: str) -> None:
    assert money_text(exact) == shown


def test_matches_are_styled_and_the_marks_are_gone() -> None:
    text = module._marked(f"The {OPEN}Stranger{CLOSE}s")
    assert text.plain == "The Strangers"
    assert [(span.start, span.end) for span in text.spans if "underline" in str(span.style)] == [
        (4, 12)
    ]


def failing(monkeypatch: pytest.MonkeyPatch, url: str) -> CallsheetError:
    monkeypatch.setenv("CALLSHEET_ELASTICSEARCH_URL", url)
    with pytest.raises(CallsheetError) as raised:
        module.search("x")
    return raised.value


def test_a_server_that_is_away_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with ElasticStub() as stub:
        url = stub.url
    error = failing(monkeypatch, url)
    assert isinstance(error, UnavailableError)
    assert error.message == f"Elasticsearch at {url} does not answer: connection refused"
    assert "stack" in error.hint


def test_a_server_without_tls_says_which_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    with ElasticStub() as stub:
        url = stub.url.replace("http://", "https://")
        error = failing(monkeypatch, url)
    assert isinstance(error, PreconditionError)
    assert error.message.startswith(f"Elasticsearch at {url} does not answer: ")
    assert "CALLSHEET_ELASTICSEARCH_CA_FILE" in error.hint


def test_a_missing_index_says_how_to_fill_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with ElasticStub() as stub:
        error = failing(monkeypatch, stub.url)
    assert isinstance(error, UnavailableError)
    assert "no index finance-titles yet" in error.message


def test_variables_that_do_not_fit_are_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(failing(monkeypatch, "localhost:9200"), UsageError)


def test_nothing_found_says_what_there_is_instead(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = [Unknown("kind", "movie", ["film", "series"]), Unknown("rating", "[X]", [])]
    module._draw(Console(width=100), Found(0, 3, (), unknown))
    assert capsys.readouterr().out.splitlines() == [
        "No title matches (3 ms).",
        "No title has the kind 'movie': there are film, series.",
        "No title has the rating '[X]': no title has one.",
    ]
