"""The ``sink:`` block of a pipeline whose ``type`` is ``sql``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Self

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

SUPPORTED: Final = ("mysql+pymysql",)
_PLACEHOLDERS: Final = frozenset({"source", "database", "table"})
_MIB: Final = 1 << 20


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsSettings(_Section):
    """With any of these set, the server must speak TLS and its name must be the certificate's."""

    ca_file: Path | None = Field(
        default=None, description="CA certificates (PEM) to trust instead of the system's."
    )
    certificate_file: Path | None = Field(
        default=None, description="Our own certificate (PEM), where the server asks for one."
    )
    key_file: Path | None = Field(default=None, description="The key of `certificate_file`.")


class SqlSettings(_Section):
    """Where the replica is, how its tables are named, and how much goes into one transaction."""

    url: str = Field(
        description="As SQLAlchemy writes it, without credentials: "
        "`mysql+pymysql://host:3306/database`. The database must exist."
    )
    username: str = Field(min_length=1)
    password: SecretStr
    tls: TlsSettings | None = Field(default=None, description="Ask for TLS; `{}` is enough.")
    connect_timeout_seconds: float = Field(default=5.0, gt=0, le=60)
    answer_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="A server that answers nothing for so long is away; the transaction is tried "
        "again on a new connection.",
    )
    ddl_timeout_seconds: float = Field(
        default=3600.0, gt=0, description="The same for CREATE and ALTER TABLE."
    )
    lock_timeout_seconds: int = Field(
        default=10, ge=1, le=600, description="Longest wait for a lock that somebody holds."
    )
    claim_timeout_seconds: float = Field(
        default=45.0,
        gt=0,
        le=240,
        description="How long to try to take over partitions before the worker gives up. A "
        "frozen predecessor may hold its rows for 20 seconds.",
    )

    table: str = Field(
        default="{table}",
        description="Name of the replica's table; {source}, {database}, {table} are filled in.",
    )

    transaction_events: int = Field(
        default=10_000,
        ge=1,
        le=200_000,
        description="Batches that wait share a transaction up to so many events.",
    )
    statement_bytes: int = Field(
        default=1 * _MIB,
        ge=64 << 10,
        le=64 * _MIB,
        description="A statement ends at so many bytes of values; never beyond half of what the "
        "server takes.",
    )
    statement_rows: int = Field(
        default=1_000,
        ge=1,
        le=5_000,
        description="The same in rows, and in IDs that are looked up at a time.",
    )
    in_flight_bytes: int = Field(
        default=48 * _MIB, ge=_MIB, description="Accepted and not yet committed: a memory bound."
    )

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise ValueError("not a database URL, like mysql+pymysql://host:3306/db") from error
        if parsed.drivername not in SUPPORTED:
            raise ValueError(f"supported are {', '.join(SUPPORTED)}")
        if parsed.username or parsed.password:
            raise ValueError("credentials belong into username and password, not into the URL")
        if not parsed.host or not parsed.database:
            raise ValueError("the URL must name a host and a database")
        if parsed.query:
            raise ValueError("the URL takes no options; TLS and timeouts have keys of their own")
        return url

    @field_validator("table")
    @classmethod
    def _is_template(cls, table: str) -> str:
        named = set(re.findall(r"\{(\w*)\}", table))
        rest = re.sub(r"\{\w*\}", "", table)
        if "table" not in named or named - _PLACEHOLDERS or re.search(r"[{}\x00`]", rest):
            raise ValueError("contains {table}; {source} and {database} may stand in it as well")
        return table

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        tls = self.tls
        if tls is not None and (tls.certificate_file is None) != (tls.key_file is None):
            raise ValueError("tls.certificate_file and tls.key_file go together")
        return self

    @property
    def address(self) -> sa.URL:
        """Without credentials: fit to be shown."""
        return sa.make_url(self.url)
