"""What the server's errors ask for, from literal ones; and that no value of a row gets out."""

from __future__ import annotations

import pymysql.err
import pytest
import sqlalchemy as sa

from callsheet.errors import FatalError, RetryableError
from sinks.sql.dialect import Trouble
from sinks.sql.mysql.errors import diagnosis
from sinks.sql.trouble import Failed


def failed(number: int, text: str = "", kind: type[Exception] = pymysql.err.OperationalError) -> (
    sa.exc.DBAPIError
):  # fmt: skip
    return sa.exc.DBAPIError("INSERT INTO t VALUES ('secret')", None, kind(number, text))


@pytest.mark.parametrize(
    ("number", "trouble"),
    [
        (2003, Trouble.AWAY), (2006, Trouble.AWAY), (2013, Trouble.AWAY), (4031, Trouble.AWAY),
        (3, Trouble.AWAY), (1021, Trouble.AWAY), (1026, Trouble.AWAY), (1030, Trouble.AWAY),
        (1598, Trouble.AWAY), (1180, Trouble.AGAIN), (1206, Trouble.AGAIN), (4, Trouble.REFUSED),
        (1040, Trouble.AWAY), (1053, Trouble.AWAY), (1114, Trouble.AWAY), (1290, Trouble.AWAY),
        (1205, Trouble.AGAIN), (1213, Trouble.AGAIN), (1062, Trouble.AGAIN), (1060, Trouble.AGAIN),
        (1412, Trouble.AGAIN), (1684, Trouble.AGAIN), (1615, Trouble.AGAIN), (1637, Trouble.AGAIN),
        (1406, Trouble.VALUE), (1292, Trouble.VALUE), (3140, Trouble.VALUE), (1264, Trouble.VALUE),
        (1146, Trouble.TABLE), (1054, Trouble.TABLE), (1142, Trouble.TABLE),
        (1045, Trouble.REFUSED), (1049, Trouble.REFUSED), (1064, Trouble.REFUSED),
        (9999, Trouble.REFUSED),
    ],
)  # fmt: skip
def test_what_a_number_asks_for(number: int, trouble: Trouble) -> None:
    assert diagnosis(failed(number)).trouble is trouble


def test_a_closed_socket_is_away() -> None:
    found = diagnosis(failed(0, kind=pymysql.err.InterfaceError))
    assert (found.trouble, found.detail) == (Trouble.AWAY, "the connection is closed")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Data too long for column 'name' at row 3", "MySQL error 1406 in column name"),
        ("Incorrect value: 'secret' for column 'db'.'t'.'x'", "MySQL error 1406"),
        ("Invalid JSON text: \"secret\" at position 1 in value for column 't.facts'.",
         "MySQL error 1406 in column facts"),
        ("something about 'secret'", "MySQL error 1406"),
    ],
)  # fmt: skip
def test_no_value_is_told(text: str, told: str) -> None:
    detail = diagnosis(failed(1406, text)).detail
    assert "secret" not in detail
    assert detail.startswith(told)


def test_what_may_pass_is_retried_and_what_may_not_stops() -> None:
    assert isinstance(Failed(diagnosis(failed(2013))).as_error("db"), RetryableError)
    assert isinstance(Failed(diagnosis(failed(1213))).as_error("db"), RetryableError)
    assert isinstance(Failed(diagnosis(failed(1045))).as_error("db"), FatalError)


@pytest.mark.parametrize("number", [1044, 1045, 1049, 1130, 1142, 1143, 1227, 1698, 3118, 3159])
def test_who_is_not_let_in_is_sent_to_the_account(number: int) -> None:
    hint = Failed(diagnosis(failed(number))).as_error("db").hint
    assert hint.startswith("check sink.username, sink.password")


@pytest.mark.parametrize("number", [0, 4, 1064, 1146, 9999])
def test_any_other_refusal_is_to_be_looked_up(number: int) -> None:
    error = Failed(diagnosis(failed(number))).as_error("db")
    assert isinstance(error, FatalError)
    assert error.message == f"the replica at db refuses us: MySQL error {number}"
    assert error.hint.startswith("look up what the number means")
    assert "password" not in error.hint


def test_the_servers_file_layer_has_small_numbers() -> None:
    """The driver makes an InternalError of them, and of a full disk in the middle of a write."""
    text = "Error writing file '/tmp/MLfd=42' (OS errno 28 - No space left on device)"
    found = diagnosis(failed(3, text, pymysql.err.InternalError))
    assert (found.trouble, found.detail) == (Trouble.AWAY, "MySQL error 3")
