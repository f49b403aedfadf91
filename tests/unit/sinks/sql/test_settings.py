from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from callsheet.errors import ConfigError
from callsheet.ports import SystemClock
from callsheet.sink import SinkContext
from sinks import available, plugin
from sinks.sql import PLUGIN
from sinks.sql.settings import SqlSettings
from sinks.sql.sink import SqlSink

GOOD = {"url": "mysql+pymysql://db:3306/replica", "username": "u", "password": "p-secret"}


def test_it_is_found_by_name() -> None:
    assert "sql" in available()
    assert plugin("sql") is PLUGIN


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "postgresql+psycopg://db/replica"}, "supported are mysql"),
        ({"url": "mysql+pymysql://u:p@db/replica"}, "credentials belong into"),
        ({"url": "mysql+pymysql://db"}, "must name a host and a database"),
        ({"url": "mysql+pymysql://db/r?ssl=0"}, "takes no options"),
        ({"url": "nonsense"}, "not a database URL"),
        ({"table": "fixed"}, "contains {table}"),
        ({"table": "{table}{nonsense}"}, "contains {table}"),
        ({"table": "a`b{table}"}, "contains {table}"),
        ({"tls": {"key_file": "k.pem"}}, "go together"),
        ({"unknown": 1}, "Extra inputs"),
        ({"password": None}, "valid string"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SqlSettings.model_validate(GOOD | change)
    assert said in str(caught.value)


def test_no_secret_is_shown() -> None:
    assert "p-secret" not in repr(SqlSettings.model_validate(GOOD))


def test_certificates_that_are_not_there_are_told_of(tmp_path: Path) -> None:
    settings = SqlSettings.model_validate(GOOD | {"tls": {"ca_file": "nowhere.pem"}})
    with pytest.raises(ConfigError, match="certificates cannot be read"):
        SqlSink(settings, SinkContext("test", SystemClock(), config_dir=str(tmp_path)))
