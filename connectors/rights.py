"""What the capture account must be allowed, and what it had better not be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from callsheet.doctor import Finding
from connectors.grants import GRANT_OPTION, Grant, is_allowed, parse_grants

_NAME = "grants of the capture user"
_HINT = r"(?:/\*.*?\*/\s*)?"  # an optimizer hint stands behind the first word
_WRITES = re.compile(
    rf"^\s*(?:INSERT\s+{_HINT}INTO|REPLACE\s+{_HINT}INTO|UPDATE\s+{_HINT})\s*([`\w.$-]+)",
    re.IGNORECASE,
)
_HARMLESS = frozenset(
    {
        "SELECT",
        "LOCK TABLES",
        "RELOAD",
        "FLUSH_TABLES",
        "REPLICATION SLAVE",
        "REPLICATION CLIENT",
        "SHOW DATABASES",
        "SHOW VIEW",
        "BACKUP_ADMIN",
    }
)


def written_table(query: str) -> str:
    """The table that a heartbeat query writes, as ``schema.table``; empty if that is unclear."""
    match = _WRITES.match(query)
    return match[1].replace("`", "") if match else ""


def judge(
    lines: Sequence[str], schemas: Sequence[str], heartbeat: str, signals: str
) -> Iterator[Finding]:
    """Findings on the lines of SHOW GRANTS: what is missing fails, what is too much warns."""
    grants = parse_grants(lines)
    missing = list(_missing(grants, schemas, heartbeat, signals))
    if missing:
        message = f"lack {', '.join(missing)}"
        yield Finding("mysql", _NAME, "fail", message, "GRANT them; the migrations do.")
    excess = sorted(set(_excess(grants, schemas, {heartbeat, signals})))
    if excess:
        message = f"allow more than capture needs: {', '.join(excess)}"
        yield Finding("mysql", _NAME, "warn", message, "REVOKE them.")
    if not missing and not excess:
        yield Finding("mysql", _NAME, "ok", "complete, and no more than needed")


def _missing(
    grants: Sequence[Grant], schemas: Sequence[str], heartbeat: str, signals: str
) -> Iterator[str]:
    for right in ("REPLICATION SLAVE", "REPLICATION CLIENT"):
        if not is_allowed(grants, right):
            yield f"{right} ON *.*"
    if not is_allowed(grants, "RELOAD") and not is_allowed(grants, "FLUSH_TABLES"):
        yield "FLUSH_TABLES ON *.*"
    for schema in schemas:
        if not is_allowed(grants, "SELECT", schema):
            yield f"SELECT ON {schema}.*"
    for table, rights in ((heartbeat, ("INSERT", "UPDATE")), (signals, ("INSERT",))):
        schema, _, name = table.rpartition(".")
        for right in rights:
            if name and not is_allowed(grants, right, schema, name):
                yield f"{right} ON {table}"


def _excess(grants: Sequence[Grant], schemas: Sequence[str], own: set[str]) -> Iterator[str]:
    for grant in grants:
        needless = grant.right not in _HARMLESS and grant.scope not in own
        if needless or grant.right == GRANT_OPTION or _reads_elsewhere(grant, schemas):
            yield f"{grant.right} ON {grant.scope}"


def _reads_elsewhere(grant: Grant, schemas: Sequence[str]) -> bool:
    """Whether it opens a whole schema, or all of them, that is not captured."""
    if grant.right != "SELECT" or grant.table != "*":
        return False
    return grant.schema == "*" or not any(grant.covers("SELECT", s, "*") for s in schemas)
