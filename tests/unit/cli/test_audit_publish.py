"""`callsheet audit publish --every` goes on through whatever may pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from callsheet.cli import audit_publish
from callsheet.errors import (
    CallsheetError,
    ConfigError,
    FatalError,
    RetryableError,
    UnavailableError,
    UsageError,
)
from sinks.hive.settings import HiveSettings
from sinks.hive.stores.port import LostFileError
from tests.support.hive import local_root

NOTHING: dict[str, Any] = {"tables": [], "partitions": {}}
NEWS: dict[str, Any] = {"tables": [], "partitions": {"finance_plans": 1}}
AWAY = UnavailableError("HiveServer2 at x:1 does not answer", hint="later")
REFUSED = FatalError("Hive refused SHOW TABLES: the metastore is away", hint="its log")
GONE = LostFileError("finance_plans/event_date=2027-01-15/x.parquet")


Turn = CallsheetError | dict[str, Any]


class Interrupted(BaseException):
    """Ctrl-C, when there is nothing left to play."""


def run(
    turns: Sequence[Turn], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, str, Any]]:
    """Level, event and cause of what is logged while each turn goes as it is given."""
    left, rests = list(turns), list[float]()

    def published(*_: object) -> dict[str, Any]:
        if not left:
            raise Interrupted
        turn = left.pop(0)
        if isinstance(turn, CallsheetError):
            raise turn
        return turn

    monkeypatch.setattr(audit_publish, "published", published)
    monkeypatch.setattr("callsheet.cli.audit_publish.time.sleep", rests.append)
    settings = HiveSettings.model_validate({"store": local_root(folder)})
    with capture_logs() as logs, pytest.raises(Interrupted):
        audit_publish.repeatedly(settings, 60)
    assert rests == [60] * len(turns)
    return [(each["log_level"], each["event"], each.get("cause")) for each in logs]


@pytest.mark.parametrize(
    "trouble",
    [AWAY, REFUSED, GONE, RetryableError("the store is away")],
    ids=lambda e: type(e).__name__,
)
def test_trouble_is_told_once_and_when_it_is_over(
    trouble: CallsheetError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[Turn] = [NOTHING, trouble, trouble, trouble, NOTHING, NOTHING, NEWS]
    assert run(turns, tmp_path, monkeypatch) == [
        ("warning", "hive is not told", trouble.message),
        ("info", "hive is told", None),
        ("info", "hive is told", None),
    ]


def test_each_new_cause_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[Turn] = [AWAY, REFUSED, AWAY, REFUSED, GONE, NOTHING, AWAY]
    causes = [cause for *_, cause in run(turns, tmp_path, monkeypatch)]
    assert causes == [AWAY.message, REFUSED.message, GONE.message, None, AWAY.message]


@pytest.mark.parametrize("error", [ConfigError("no HiveServer2"), UsageError("no audit")])
def test_what_does_not_pass_ends_it(
    error: CallsheetError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(type(error)):
        run([NOTHING, error], tmp_path, monkeypatch)
