"""Is this MySQL fit to be captured, without losing a change? Pure checks on collected facts.

Each check yields findings; one of level ``fail`` makes ``connectors apply`` refuse. What is
merely unwise is a ``warn``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from callsheet.doctor import Finding, Level
from callsheet.errors import PreconditionError
from callsheet.kafka.topics import TopicState
from connectors import rights, zones
from connectors.models import DATETIME_ZONE, DATETIME_ZONE_DEFAULT
from connectors.progress import BinlogPosition
from connectors.source import SourceFacts, SourceTable
from connectors.topics import is_match, split_list

_REQUIRED = (
    ("log_bin", "ON", "nothing is written to the log that Debezium reads"),
    ("binlog_format", "ROW", "other formats log statements, not rows"),
    ("binlog_row_image", "FULL", "a change would lack the columns that did not change"),
    ("binlog_row_value_options", "", "PARTIAL_JSON logs only the parts of a document that changed"),
    ("gtid_mode", "ON", "a fail-over could not be followed without losing or repeating changes"),
    ("enforce_gtid_consistency", "ON", "gtid_mode needs it"),
    (
        "binlog_transaction_compression",
        "OFF",
        "rows of a compressed transaction share one position, so they have no order of their own",
    ),
)
_MAX_ORDINAL = 2**31 - 1
"""A version has 31 bits for the binlog file's ordinal and 32 for the position (docs)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one connector asks of MySQL."""

    connector: str
    server_id: int
    patterns: tuple[str, ...]
    schemas: tuple[str, ...]
    heartbeat: str
    signals: str
    history_topic: str
    recovers_history: bool
    """Whether snapshot.mode says to build the history anew from the tables as they are."""
    downtime_budget_hours: float
    datetime_zone: str = DATETIME_ZONE_DEFAULT
    """By whose clock the readers take a DATETIME."""

    @classmethod
    def of(cls, name: str, config: Mapping[str, str], downtime_budget_hours: float) -> Wanted:
        patterns = split_list(config["table.include.list"])
        signals = config["signal.data.collection"]
        schemas = {pattern.replace("\\", "").split(".")[0] for pattern in (*patterns, signals)}
        return cls(
            connector=name,
            server_id=int(config["database.server.id"]),
            patterns=patterns,
            schemas=tuple(sorted(schemas)),
            heartbeat=rights.written_table(config["heartbeat.action.query"]),
            signals=signals,
            history_topic=config["schema.history.internal.kafka.topic"],
            recovers_history=config["snapshot.mode"] == "recovery",
            downtime_budget_hours=downtime_budget_hours,
            datetime_zone=config.get(DATETIME_ZONE, DATETIME_ZONE_DEFAULT),
        )

    def captures(self, table: SourceTable) -> bool:
        name = str(table)
        return name == self.signals or any(is_match(pattern, name) for pattern in self.patterns)


def judge(
    facts: SourceFacts,
    wanted: Wanted,
    *,
    committed: BinlogPosition | None = None,
    history: TopicState | None = None,
) -> tuple[Finding, ...]:
    """Every finding on MySQL for one connector.

    Args:
        facts: the server.
        wanted: the connector.
        committed: where the connector was last; None if it is new.
        history: its schema history topic; None if that does not exist yet.
    """
    return (
        *_settings(facts),
        *_identity(facts, wanted),
        *_retention(facts, wanted),
        *_continuity(facts, committed),
        *_compressors(facts),
        *_time_zone(facts, wanted),
        *_tables(facts, wanted),
        *rights.judge(facts.grants, wanted.schemas, wanted.heartbeat, wanted.signals),
        *_history(wanted, history, is_new=committed is None),
    )


def refuse(findings: Iterable[Finding]) -> None:
    """Raise on failures.

    Raises:
        PreconditionError: names each setting that fails, and what to set.
    """
    failed = [finding for finding in findings if finding.level == "fail"]
    if failed:
        said = "; ".join(f"{finding.name}: {finding.message}" for finding in failed)
        hints = " ".join(dict.fromkeys(finding.hint for finding in failed if finding.hint))
        raise PreconditionError(f"Not fit to be captured: {said}.", hint=hints)


def _found(name: str, level: Level, message: str, hint: str = "") -> Finding:
    return Finding("mysql", name, level, message, hint)


def _settings(facts: SourceFacts) -> Iterator[Finding]:
    for name, wanted, reason in _REQUIRED:
        actual = facts.variables.get(name, "")
        # An absent option is one that this version does not have, so it cannot be set wrongly.
        if actual.upper() == wanted or (name not in facts.variables and wanted in {"", "OFF"}):
            yield _found(name, "ok", f"is {actual or 'empty'}")
        else:
            shown = wanted or "empty"
            message = f"is {actual or 'empty'}, must be {shown}: {reason}"
            yield _found(name, "fail", message, f"SET PERSIST {name}, or my.cnf: {name}={wanted}.")
    if facts.on("super_read_only"):
        message = "is ON: the heartbeat row cannot be written, nor a signal"
        yield _found("super_read_only", "fail", message, "Capture from a server that takes writes.")


def _identity(facts: SourceFacts, wanted: Wanted) -> Iterator[Finding]:
    actual = int(facts.variables.get("server_id", "0"))
    if actual == 0:
        message = "is 0: such a server refuses to be read by others"
        yield _found("server_id", "fail", message, "Give the server an id: server_id=1 in my.cnf.")
    elif wanted.server_id in {actual, *facts.replica_ids}:
        message = (
            f"{wanted.server_id} is also {wanted.connector}'s database.server.id: of two readers "
            "with one id MySQL drops the older"
        )
        hint = "Choose another database.server.id in the connector's file."
        yield _found("server_id", "fail", message, hint)
    else:
        yield _found("server_id", "ok", f"is {actual}, the connector's {wanted.server_id}")


def _retention(facts: SourceFacts, wanted: Wanted) -> Iterator[Finding]:
    name = "binlog_expire_logs_seconds"
    hours = int(facts.variables.get(name, "0")) / 3600
    budget = wanted.downtime_budget_hours
    size = sum(file.size_bytes for file in facts.binlogs) / 2**20
    kept = f"{size:,.0f} MiB in {len(facts.binlogs)} file(s) now"
    if hours == 0 or not facts.on("binlog_expire_logs_auto_purge"):
        message = f"binlogs are kept for ever ({kept}): watch the disk"
        yield _found(name, "warn", message, "Set it to the longest downtime that must be survived.")
    elif hours < budget:
        message = (
            f"binlogs are kept for {hours:g} h, but capture may be down for {budget:g} h: "
            "a longer stop would lose changes"
        )
        hint = f"SET PERSIST {name} = {round(budget * 3600)}, or state a smaller budget."
        yield _found(name, "fail", message, hint)
    else:
        message = f"binlogs are kept for {hours:g} h, the downtime budget is {budget:g} h ({kept})"
        yield _found(name, "ok", message)


def _continuity(facts: SourceFacts, committed: BinlogPosition | None) -> Iterator[Finding]:
    """The log goes on where the connector left off."""
    now = facts.position
    if now is None:
        return  # log_bin says it
    if now.ordinal > _MAX_ORDINAL:
        message = f"file number {now.ordinal} is beyond what a version can hold"
        hint = "RESET BINARY LOGS, and build the stores anew: no epoch lies above that number."
        yield _found("binlog", "fail", message, hint)
    if committed is None:
        yield _found("binlog", "ok", f"is at {now}")
    elif committed > now:
        message = (
            f"is at {now}, behind the connector's {committed}: it was reset, or this is another "
            "server, and versions would go backwards"
        )
        hint = (
            "Begin a new epoch: `source.epochs` for this topic.prefix in each pipeline file "
            '(docs/operations.md, "A replaced source"). Then `callsheet connectors offsets reset` '
            "starts a new snapshot, and `callsheet sweep` finds what has gone."
        )
        yield _found("binlog", "fail", message, hint)
    elif facts.binlogs and committed.ordinal < min(f.position.ordinal for f in facts.binlogs):
        message = f"{committed.file}, where the connector stopped, is purged: changes are missing"
        hint = (
            "`callsheet connectors offsets reset` starts a new snapshot; then `callsheet sweep` "
            "finds what was deleted meanwhile."
        )
        yield _found("binlog", "fail", message, hint)
    else:
        yield _found("binlog", "ok", f"is at {now}, the connector at {committed}")


def _compressors(facts: SourceFacts) -> Iterator[Finding]:
    found, name = facts.compression, "transaction compression by sessions"
    if found is None:
        return
    if found.transactions:
        message = f"{found.transactions} transaction(s) were compressed since MySQL started"
        hint = "Find the session that sets binlog_transaction_compression; its tables park."
        yield _found(name, "warn", message, hint)
    elif found.may:
        message = f"may be switched on by {', '.join(found.may)}"
        hint = "Only administrators should hold SESSION_VARIABLES_ADMIN, SYSTEM_VARIABLES_ADMIN."
        level: Level = "ok" if all(holder.startswith("'root'@") for holder in found.may) else "warn"
        yield _found(name, level, message, "" if level == "ok" else hint)
    else:
        yield _found(name, "ok", "no account may switch it on")


def _time_zone(facts: SourceFacts, wanted: Wanted) -> Iterator[Finding]:
    zone = facts.variables.get("time_zone", "SYSTEM")
    zone = facts.variables.get("system_time_zone", "?") if zone == "SYSTEM" else zone
    declared = wanted.datetime_zone
    if zones.same(zone, declared):
        yield _found("time_zone", "ok", f"is {zone}, as DATETIME is declared ({declared})")
    else:
        message = (
            f"is {zone}, DATETIME is declared as {declared}: NOW() writes MySQL's time into a "
            "DATETIME, which has no zone and is delivered as it is"
        )
        hint = (
            f"Run MySQL in {declared}, or set {DATETIME_ZONE} in the connector's file to the zone "
            "that the rows are in; TIMESTAMP columns are not concerned."
        )
        yield _found("time_zone", "warn", message, hint)


def _tables(facts: SourceFacts, wanted: Wanted) -> Iterator[Finding]:
    captured = [table for table in facts.tables if wanted.captures(table)]
    yield from _missing(captured, wanted)
    keyless = [str(table) for table in captured if not table.has_primary_key]
    if keyless:
        message = f"{', '.join(keyless)}: no primary key, so a row has no ID and no partition"
        hint = "Add a primary key, or leave the table out of table.include.list."
        yield _found("tables without primary key", "fail", message, hint)
    foreign = [f"{table} ({table.engine})" for table in captured if table.engine != "InnoDB"]
    if foreign:
        message = f"{', '.join(foreign)}: a snapshot of it would not match the log"
        yield _found("storage engine", "fail", message, "ALTER TABLE ... ENGINE=InnoDB.")
    if captured and not keyless and not foreign:
        yield _found("tables", "ok", f"{len(captured)} captured, each InnoDB with a primary key")


def _missing(captured: Sequence[SourceTable], wanted: Wanted) -> Iterator[Finding]:
    there = [str(table) for table in captured]
    lacking = [
        pattern.replace("\\", "")
        for pattern in wanted.patterns
        if not any(is_match(pattern, table) for table in there)
    ]
    lacking += [wanted.signals] if wanted.signals not in there else []
    if lacking:
        message = f"{', '.join(lacking)}: not there, or not visible to the capture user"
        hint = "Run the migrations, or correct table.include.list."
        yield _found("missing tables", "fail", message, hint)


def _history(wanted: Wanted, history: TopicState | None, *, is_new: bool) -> Iterator[Finding]:
    name = f"topic {wanted.history_topic}"
    if history is None:
        if is_new or wanted.recovers_history:
            yield Finding("kafka", name, "ok", "will be created")
        else:
            message = "is gone, but the connector has run: it cannot read on without its history"
            hint = (
                "No DDL since it stopped: set snapshot.mode to recovery, apply, and set it back. "
                "Else `callsheet connectors offsets reset`, apply, then `callsheet sweep`."
            )
            yield Finding("kafka", name, "fail", message, hint)
        return
    broken = []
    if history.partitions != 1:
        broken.append(f"{history.partitions} partitions instead of 1")
    if history.config.get("cleanup.policy", "delete") != "delete":
        broken.append(f"cleanup.policy={history.config['cleanup.policy']} instead of delete")
    if broken:
        message = f"has {' and '.join(broken)}: a history out of order or with gaps is unreadable"
        hint = "Capture under a new schema.history.internal.kafka.topic, with a new snapshot."
        yield Finding("kafka", name, "fail", message, hint)
    elif (
        # Debezium itself creates it with the largest number; both mean for ever.
        history.config.get("retention.ms") not in {"-1", str(2**63 - 1)}
        or history.config.get("retention.bytes", "-1") != "-1"
    ):
        message = "does not keep everything: once its first records go, no binlog can be read"
        hint = "`callsheet connectors apply` sets its retention to unlimited."
        yield Finding("kafka", name, "warn", message, hint)
    else:
        yield Finding("kafka", name, "ok", "keeps everything")
