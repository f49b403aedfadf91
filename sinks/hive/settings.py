"""The ``sink:`` block of a pipeline whose ``type`` is ``hive``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

_TABLE_TEMPLATE: Final = re.compile(r"[a-z0-9_{}]+")
_PLACEHOLDERS: Final = frozenset({"source", "database", "table"})
_MIB: Final = 1 << 20


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LocalStoreSettings(_Section):
    """A folder of this machine, or one that is mounted."""

    type: Literal["local"]
    root: Path = Field(description="Absolute. It is made if it is not there.")

    @field_validator("root")
    @classmethod
    def _is_absolute(cls, root: Path) -> Path:
        if not root.is_absolute():
            raise ValueError("an absolute path, because a worker may be started from anywhere")
        return root


class HdfsStoreSettings(_Section):
    """A directory of an HDFS, through WebHDFS."""

    type: Literal["hdfs"]
    namenodes: tuple[str, ...] = Field(
        min_length=1, description="http(s)://host:port of each NameNode; the active one is found."
    )
    root: str = Field(pattern=r"^/[^\s]+$", description="An absolute path in HDFS.")
    user: str | None = Field(default=None, description="Simple authentication.")
    delegation_token: SecretStr | None = Field(default=None, description="Instead of a user.")
    timeout_seconds: float = Field(default=30.0, gt=0, description="Of a single request.")

    @field_validator("namenodes")
    @classmethod
    def _are_urls(cls, nodes: tuple[str, ...]) -> tuple[str, ...]:
        for node in nodes:
            parts = urlsplit(node)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
                raise ValueError("a NameNode is written http://name:port or https://name:port")
        return nodes

    @model_validator(mode="after")
    def _is_consistent(self) -> HdfsStoreSettings:
        if self.user is not None and self.delegation_token is not None:
            raise ValueError("give either user or delegation_token")
        return self


class S3StoreSettings(_Section):
    """A prefix of a bucket, on S3 or what speaks like it and has conditional writes."""

    type: Literal["s3"]
    bucket: str = Field(min_length=3)
    prefix: str = Field(default="", description="Within the bucket.")
    endpoint: str | None = Field(
        default=None, pattern=r"^https?://", description="Where it is not Amazon's own."
    )
    region: str = Field(default="us-east-1")
    access_key_id: SecretStr | None = Field(
        default=None, description="If not given: what the environment or the machine's role says."
    )
    secret_access_key: SecretStr | None = Field(default=None)
    timeout_seconds: float = Field(default=30.0, gt=0, description="Of a single request.")

    @model_validator(mode="after")
    def _is_consistent(self) -> S3StoreSettings:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        return self


AnyStoreSettings = LocalStoreSettings | HdfsStoreSettings | S3StoreSettings
StoreSettings = Annotated[AnyStoreSettings, Field(discriminator="type")]


class RotationSettings(_Section):
    """When a range of records is complete and becomes files: whatever comes first."""

    rows: int = Field(default=1_000_000, ge=1, description="Of one partition of a topic.")
    bytes: int = Field(
        default=256 * _MIB,
        ge=64 << 10,
        description="Of the Kafka records in it; as Parquet they are about a tenth of that.",
    )
    seconds: float = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="Since its first record, by the wall clock, also when no other comes: how "
        "late the audit may be.",
    )


class CompactionSettings(_Section):
    """Which dates `callsheet audit compact` merges, and into what."""

    older_than_days: int = Field(
        default=1,
        ge=0,
        description="Dates that are so many days old: 1 is yesterday; 0 is today, into which "
        "workers still write.",
    )
    spare_files: int = Field(
        default=8, ge=1, description="Only dates that get so many files less by it."
    )
    target_bytes: int = Field(
        default=256 * _MIB,
        ge=_MIB,
        description="A merged file is complete when it has this size; larger ones are not merged.",
    )
    grace_hours: float = Field(
        default=24.0,
        ge=0,
        description="How long the small files stay, for readers that have begun. Entries of the "
        "log that are older than that are folded.",
    )


class HiveServerSettings(_Section):
    """The HiveServer2 that shows the audit. Only `callsheet audit publish` asks it anything."""

    host: str = Field(min_length=1)
    port: int = Field(default=10_000, ge=1, le=65_535)
    database: str = Field(
        default="callsheet", pattern=r"^[a-z0-9_]+$", description="Made if it is not there."
    )
    location: str = Field(
        pattern=r"^[a-z0-9]+://\S*[^/\s]$",
        description="The store's root as Hive names it: hdfs://nameservice/warehouse/callsheet, "
        "s3a://bucket/prefix, file:///var/lib/callsheet/audit.",
    )
    authentication: Literal["NONE", "NOSASL", "LDAP"] = Field(
        default="NONE", description="As hive.server2.authentication says."
    )
    username: str = Field(default="callsheet", min_length=1)
    password: SecretStr | None = Field(default=None, description="With LDAP only.")
    session_timeout_seconds: float = Field(
        default=30.0, gt=0, description="Of each answer while a session is opened."
    )
    timeout_seconds: float = Field(default=120.0, gt=0, description="Of each answer after that.")

    @model_validator(mode="after")
    def _is_consistent(self) -> HiveServerSettings:
        if (self.password is not None) != (self.authentication == "LDAP"):
            raise ValueError("a password goes with authentication: LDAP, and only with it")
        return self


class HiveSettings(_Section):
    """Where the audit is, how its tables are named, and how big its files get."""

    store: StoreSettings = Field(description="Where the files are; `type` chooses.")
    server: HiveServerSettings | None = Field(
        default=None, description="Where `callsheet audit publish` makes the audit visible."
    )
    table: str = Field(
        default="{database}_{table}",
        description="Name of the Hive table per source table; {source}, {database}, {table} are "
        "filled in.",
    )
    rotation: RotationSettings = RotationSettings()
    compaction: CompactionSettings = CompactionSettings()
    retention_days: int | None = Field(
        default=None,
        ge=1,
        description="Older dates are dropped by `callsheet audit expire`. Not given: none ever is.",
    )
    compression: Literal["zstd", "snappy", "gzip", "none"] = Field(
        default="zstd", description="Of the Parquet files. Hive 4 reads all of them."
    )
    row_group_rows: int = Field(
        default=65_536, ge=1_000, le=1_000_000, description="Most rows that a reader takes at once."
    )
    buffer_bytes: int = Field(
        default=24 * _MIB,
        ge=_MIB,
        description="Rows in memory that no row group has yet, of all tables together.",
    )
    spool_dir: Path | None = Field(
        default=None,
        description="Folder on a local disk for files that are being written; the system's folder "
        "for temporary files if not given.",
    )
    most_open_files: int = Field(
        default=256, ge=8, description="Beyond it the range with the most dates is completed."
    )
    most_waiting_ranges: int = Field(
        default=32,
        ge=1,
        description="Complete, and not in the store yet: beyond it no more records are taken.",
    )
    generations: dict[str, int] = Field(
        default_factory=dict,
        description="Per topic, 0 if not given: raise it when a topic was deleted and made anew, "
        "since its offsets then mean other records.",
    )

    @field_validator("table")
    @classmethod
    def _is_table_template(cls, table: str) -> str:
        named = set(re.findall(r"\{(\w*)\}", table))
        if "table" not in named or named - _PLACEHOLDERS or not _TABLE_TEMPLATE.fullmatch(table):
            raise ValueError(
                "a table name is lower case letters, digits and underscores and contains {table}; "
                "{source} and {database} may stand in it as well"
            )
        return table

    @field_validator("generations")
    @classmethod
    def _are_generations(cls, generations: dict[str, int]) -> dict[str, int]:
        if any(generation < 0 for generation in generations.values()):
            raise ValueError("a generation is 0 or more")
        return generations
