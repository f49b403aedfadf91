"""Read MySQL's ``SHOW GRANTS``, to tell what an account may do, and what it may do needlessly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_NAME = r"\*|`(?:[^`]|``)+`"
_GRANT = re.compile(
    rf"^GRANT (?P<rights>.+?) ON (?:TABLE )?(?P<schema>{_NAME})\.(?P<table>{_NAME})"
    r" TO .*?(?P<option> WITH GRANT OPTION)?$",
    re.IGNORECASE,
)
_RIGHT = re.compile(r"([A-Z_ ]+?)\s*(\([^)]*\))?\s*(?:,|$)", re.IGNORECASE)
GRANT_OPTION = "GRANT OPTION"


@dataclass(frozen=True, slots=True)
class Grant:
    """One right on one scope; ``schema`` is MySQL's pattern, where ``_`` and ``%`` are wild."""

    right: str
    schema: str
    table: str

    @property
    def scope(self) -> str:
        return f"{self.schema}.{self.table}"

    def covers(self, right: str, schema: str, table: str) -> bool:
        """Whether this grant allows ``right``; ``*`` asks for the whole scope."""
        return (
            self.right in {right, "ALL PRIVILEGES"}
            and (self.schema == "*" or (schema != "*" and _like(self.schema, schema)))
            and self.table in {"*", table}
        )


def parse_grants(lines: Iterable[str]) -> tuple[Grant, ...]:
    """Roles and rights on single columns or routines are left out: Debezium needs none of them."""
    found: list[Grant] = []
    for line in lines:
        match = _GRANT.match(line.strip())
        if match is None:
            continue
        schema, table = _unquoted(match["schema"]), _unquoted(match["table"])
        rights = [
            right.strip().upper()
            for right, columns in _RIGHT.findall(match["rights"])
            if right.strip() and not columns
        ]
        if match["option"]:
            rights.append(GRANT_OPTION)
        found.extend(Grant(right, schema, table) for right in rights if right != "USAGE")
    return tuple(found)


def is_allowed(grants: Iterable[Grant], right: str, schema: str = "*", table: str = "*") -> bool:
    return any(grant.covers(right, schema, table) for grant in grants)


def _unquoted(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


def _like(pattern: str, text: str) -> bool:
    r"""SQL's LIKE: ``_`` is one character, ``%`` any number, ``\_`` and ``\%`` are themselves."""
    regex = re.sub(
        r"\\([_%])|([_%])|(.)",
        lambda m: (
            re.escape(m[1]) if m[1] else {"_": ".", "%": ".*"}.get(m[2] or "", re.escape(m[0]))
        ),
        pattern,
    )
    return re.fullmatch(regex, text) is not None
