"""Accounts from the environment, and the driver's errors in our words. No server is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pymysql.err
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError

from callsheet.errors import CallsheetError, FatalError, PreconditionError, UnavailableError
from finance.database import (
    Account,
    Role,
    is_connection_lost,
    is_worth_repeating,
    open_engine,
    quoted,
    translated,
)

SECRET = "a secret / with ' signs"
ENVIRONMENT = {"CALLSHEET_APP_PASSWORD": SECRET, "CALLSHEET_MYSQL_ADMIN_PASSWORD": ""}


def driver_error(number: int, kind: type[DBAPIError] = OperationalError) -> DBAPIError:
    return kind(f"SELECT '{SECRET}'", None, pymysql.err.OperationalError(number, SECRET))


def test_an_account_takes_the_defaults_of_the_native_stack() -> None:
    account = Account.from_environment(ENVIRONMENT, Role.APP)
    assert (account.address, account.database) == ("127.0.0.1:13306", "finance")
    assert account.user == "callsheet_app"
    assert account.password.get_secret_value() == SECRET


def test_an_account_takes_what_the_environment_says() -> None:
    said = {
        "CALLSHEET_MYSQL_HOST": "db",
        "CALLSHEET_MYSQL_PORT": "3306",
        "CALLSHEET_MYSQL_DATABASE": "other",
        "CALLSHEET_MYSQL_ADMIN_USER": "boss",
    }
    account = Account.from_environment(ENVIRONMENT | said, Role.ADMIN)
    assert (account.address, account.database, account.user) == ("db:3306", "other", "boss")


def test_an_unset_password_is_named_but_an_empty_one_is_a_password() -> None:
    with pytest.raises(PreconditionError, match="CALLSHEET_READER_PASSWORD"):
        Account.from_environment(ENVIRONMENT, Role.READER)
    assert Account.from_environment(ENVIRONMENT, Role.ADMIN).password.get_secret_value() == ""


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "mysql", "3306 "])
def test_a_port_that_is_none_is_refused(port: Any) -> None:
    with pytest.raises(PreconditionError, match="CALLSHEET_MYSQL_PORT"):
        Account.from_environment(ENVIRONMENT | {"CALLSHEET_MYSQL_PORT": port}, Role.APP)


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_an_authority_that_cannot_be_used_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    account = Account.from_environment(
        ENVIRONMENT | {"CALLSHEET_MYSQL_TLS_CA": str(file)}, Role.APP
    )
    with pytest.raises(PreconditionError, match="CALLSHEET_MYSQL_TLS_CA") as caught:
        open_engine(account)
    assert str(file) in caught.value.message
    assert caught.value.hint


def test_no_password_shows_in_any_repr() -> None:
    account = Account.from_environment(ENVIRONMENT, Role.APP)
    engine = open_engine(account)
    shown = f"{account!r} {account!s} {engine!r} {engine.url!s} {engine.url!r}"
    assert "secret" not in shown
    assert engine.hide_parameters


@pytest.mark.parametrize(
    ("number", "becomes"),
    [
        (1045, PreconditionError),
        (1142, PreconditionError),
        (1049, PreconditionError),
        (1146, PreconditionError),
        (2003, UnavailableError),
        (2013, UnavailableError),
        (1053, UnavailableError),
        (1205, UnavailableError),
        (1064, FatalError),
    ],
)
def test_the_drivers_errors_become_ours_without_its_text(number: Any, becomes: Any) -> None:
    account = Account.from_environment(ENVIRONMENT, Role.APP)
    with pytest.raises(becomes) as caught, translated(account):
        raise driver_error(number)
    error = caught.value
    assert isinstance(error, CallsheetError)
    assert error.hint
    assert "secret" not in error.message + error.hint
    assert isinstance(error.__cause__, DBAPIError)


def test_losses_and_conflicts_are_told_apart() -> None:
    assert is_connection_lost(driver_error(2006))
    assert is_connection_lost(InterfaceError("SELECT 1", None, pymysql.err.InterfaceError(0, "")))
    for number in (1205, 1213, 1412):
        assert is_worth_repeating(driver_error(number))
        assert not is_connection_lost(driver_error(number))
    duplicate = IntegrityError("INSERT", None, pymysql.err.IntegrityError(1062, ""))
    assert not is_connection_lost(duplicate)
    assert not is_worth_repeating(duplicate)


def test_an_identifier_is_quoted() -> None:
    assert quoted("a`b") == "`a``b`"
