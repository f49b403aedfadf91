"""``callsheet audit compact`` and ``expire``: what keeps a long-lived audit small and quick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callsheet.cli import console
from callsheet.cli.audit_pipeline import PipelineArgument, audit_of, opened
from callsheet.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from sinks.hive.maintenance import Maintained, Maintenance
    from sinks.hive.settings import HiveSettings
    from sinks.hive.stores.port import Store

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Tables = Annotated[
    list[str] | None,
    typer.Option("--table", help="Only this one; may be repeated. As the source or Hive names it."),
]
TakeOver = Annotated[
    bool,
    typer.Option("--take-over", help="What another run has claimed too: it is known to be dead."),
]


def compact(  # noqa: PLR0917 - typer turns each into an option
    pipeline: PipelineArgument,
    tables: Tables = None,
    older_than: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="DAYS",
            help="Dates that are so many days old; sink.compaction.older_than_days if not given.",
        ),
    ] = None,
    dry_run: DryRun = False,
    take_over: TakeOver = False,
    json: console.Json = False,
) -> None:
    """Merge the small files of each date, and fold the old entries of the log. No reader notices.

    Workers and readers go on meanwhile. Where sink.server is named Hive's partitions are moved to
    the merged files; the small ones are removed by a run that comes after the grace period.

    Example: callsheet audit compact cdc-config/pipelines/audit.yaml --dry-run
    """
    from sinks.hive.maintenance import described

    settings = audit_of(pipeline)[1]
    with opened(settings) as store:
        upkeep = _maintenance(settings, store, tables or (), take_over=take_over)
        found = upkeep.compactable(older_than)
        done = None if dry_run else upkeep.compact(found)
    partitions = done.partitions if done else [described(each) for each in found]
    data = {"dry_run": dry_run, "partitions": partitions, **_rest(done)}
    console.emit(json, data, lambda out: _render(out, "merged", partitions, done))


def expire(  # noqa: PLR0917 - typer turns each into an option
    pipeline: PipelineArgument,
    tables: Tables = None,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Really: it cannot be undone.")] = False,
    take_over: TakeOver = False,
    json: console.Json = False,
) -> None:
    """Drop dates that are older than sink.retention_days: from the audit, its store, and Hive.

    Nothing expires where that is not set. What is known of a row that has not changed since is
    lost with them: `as-of` and `rebuild` say so.

    Example: callsheet audit expire cdc-config/pipelines/audit.yaml --dry-run
    """
    from sinks.hive.maintenance import told

    settings = audit_of(pipeline)[1]
    days = settings.retention_days
    if days is None:
        raise UsageError(
            "this audit keeps everything", hint="sink.retention_days says how long it is to"
        )
    if not (dry_run or yes):
        raise UsageError(
            "what has expired cannot be had back", hint="look with --dry-run, then say --yes"
        )
    with opened(settings) as store:
        upkeep = _maintenance(settings, store, tables or (), take_over=take_over)
        found = upkeep.expirable(days)
        done = None if dry_run else upkeep.expire(found)
    partitions = [told(each) for each in found]
    data = {"dry_run": dry_run, "retention_days": days, "partitions": partitions, **_rest(done)}
    console.emit(json, data, lambda out: _render(out, "expired", partitions, done))


def _maintenance(
    settings: HiveSettings, store: Store, tables: Sequence[str], *, take_over: bool
) -> Maintenance:
    from callsheet.ports import SystemClock
    from sinks.hive.archive import Archive
    from sinks.hive.maintenance import Maintenance

    def show() -> None:
        from callsheet.cli.audit_publish import published

        published(settings, store)

    archive = Archive(store)
    return Maintenance(
        archive.log,
        settings,
        SystemClock(),
        show=show if settings.server else None,
        tables=[archive.table(name).name for name in tables],
        take_over=take_over,
    )


def _rest(done: Maintained | None) -> dict[str, Any]:
    if done is None:
        return {}
    return {
        "cleaned_files": done.cleaned_files,
        "folded_entries": done.folded_entries,
        "hive_is_away": done.hive_is_away or None,
    }


def _render(
    out: Console, verb: str, partitions: Sequence[Mapping[str, Any]], done: Maintained | None
) -> None:
    from rich.markup import escape

    for each in partitions:
        into = f" into {each['merged_files']}" if "merged_files" in each else ""
        out.print(
            f"{escape(each['table'])} {each['date']}: {each['files']:,} files{into}, "
            f"{each['rows']:,} rows, {each['size_bytes'] / (1 << 20):,.1f} MiB"
        )
    what = verb if done else f"to be {verb}"
    noun = "date" if len(partitions) == 1 else "dates"
    out.print(f"[bold]{len(partitions):,}[/] {noun} {what}.")
    if done is None:
        return
    if done.cleaned_files:
        out.print(f"{done.cleaned_files:,} files removed that no longer count.")
    if done.folded_entries:
        out.print(f"{done.folded_entries:,} old entries of the log folded.")
    if done.hive_is_away:
        out.print(
            f"[yellow]Hive was not told[/]: {escape(done.hive_is_away)}. It goes on showing the "
            "files that it knows, so they stay; the next run, or `audit publish`, tells it."
        )
