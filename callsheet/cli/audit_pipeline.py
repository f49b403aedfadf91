"""What the audit's commands share: the audit that a pipeline writes, times, values for people."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from callsheet.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from callsheet.config.loading import Pipeline
    from sinks.hive.settings import HiveSettings
    from sinks.hive.stores.port import Store

DEFAULT: Final = Path("cdc-config/pipelines/audit.yaml")
PipelineOption = Annotated[Path, typer.Option("--pipeline", help="The audit's pipeline file.")]
PipelineArgument = Annotated[
    Path, typer.Argument(help="The audit's pipeline file.", show_default=False)
]
Partial = Annotated[
    bool,
    typer.Option(
        "--partial", help="Where older changes have expired: without rows unchanged since then."
    ),
]
TableArgument = Annotated[
    str,
    typer.Argument(metavar="TABLE", help="As the source or as Hive names it.", show_default=False),
]


def audit_of(file: Path) -> tuple[Pipeline, HiveSettings]:
    """
    Raises:
        ConfigError: with every fault of the file.
        UsageError: the pipeline writes no audit.
    """
    from callsheet.config.loading import load
    from sinks import plugin
    from sinks.hive.settings import HiveSettings

    pipeline = load(file, os.environ, plugin)
    if not isinstance(pipeline.sink, HiveSettings):
        raise UsageError(
            f"{file} writes to {pipeline.plugin.name}, not to an audit",
            hint=f"name a pipeline whose sink is hive, such as {DEFAULT}",
        )
    return pipeline, pipeline.sink


@contextmanager
def opened(settings: HiveSettings) -> Iterator[Store]:
    """
    Raises:
        UnavailableError: the store does not answer.
    """
    from callsheet.errors import RetryableError
    from sinks.hive.stores.configured import open_store

    store = open_store(settings.store)
    try:
        yield store
    except RetryableError as error:
        raise UnavailableError(error.message, hint=error.hint) from error
    finally:
        store.close()


def instant(text: str) -> datetime | None:
    """``now`` is None: all that the audit has, whatever the source's clock says. Else a date (its
    first moment) or a time in ISO-8601; UTC where it does not say.

    Raises:
        UsageError: it is none of these.
    """
    if text == "now":
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no time", hint="write 2026-03-01, '2026-03-01 00:00' (UTC) or with +02:00"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def plain(value: Any) -> Any:
    """A value as JSON has it, exact: decimals and times as texts, bytes in base64."""
    match value:
        case Decimal():
            return format(value, "f")
        case datetime():
            text = value.isoformat()
            return text.replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return value


def shown(value: Any, most: int = 60) -> str:
    """The same for a person: one line, not too long."""
    if value is None:
        return "null"
    text = str(plain(value)).replace("\n", " ")
    return text if len(text) <= most else f"{text[: most - 1]}…"
