"""The ``sink:`` block of a pipeline whose ``type`` is ``elasticsearch``."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

_INDEX_TEMPLATE: Final = re.compile(r"[a-z0-9._\-{}]+")
_FINGERPRINT: Final = re.compile(r"[0-9a-fA-F]{2}(?::?[0-9a-fA-F]{2}){31}")
_PLACEHOLDERS: Final = frozenset({"source", "database", "table"})

ServerType = Literal["scaled_float", "unsigned_long", "flattened", "geo_shape"]
"""Field types that not every Elasticsearch has: they come with modules and licences."""


class Refresh(StrEnum):
    INTERVAL = "interval"
    """Every ``refresh_interval_seconds``."""
    ADAPTIVE = "adaptive"
    """At once while traffic is light, by the interval while it is heavy."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsSettings(_Section):
    """Only for ``https`` hosts. Certificates are always verified."""

    ca_file: Path | None = Field(
        default=None, description="CA certificates (PEM) to trust instead of the system's."
    )
    fingerprint_sha256: str | None = Field(
        default=None, description="Trust exactly this certificate, by its SHA-256 in hex."
    )
    certificate_file: Path | None = Field(
        default=None, description="Our own certificate (PEM), where the server asks for one."
    )
    key_file: Path | None = Field(default=None, description="The key of `certificate_file`.")

    @field_validator("fingerprint_sha256")
    @classmethod
    def _is_fingerprint(cls, text: str | None) -> str | None:
        if text is not None and not _FINGERPRINT.fullmatch(text):
            raise ValueError("a SHA-256 fingerprint has 64 hex digits, with or without colons")
        return text


class AdaptiveSettings(_Section):
    """What "light" means for ``refresh: adaptive``: events of one index in the last second."""

    light_below_events: int = Field(default=200, ge=1, description="Light again at or below.")
    heavy_above_events: int = Field(default=500, ge=1, description="Heavy above.")
    share_of_time: float = Field(
        default=0.5, gt=0, le=0.9, description="Refreshes take at most this share of the time."
    )

    @model_validator(mode="after")
    def _is_hysteresis(self) -> Self:
        if self.light_below_events >= self.heavy_above_events:
            raise ValueError("light_below_events must be less than heavy_above_events")
        return self


class ElasticsearchSettings(_Section):
    """Where the index is, how it is named, and how hard we push."""

    hosts: tuple[str, ...] = Field(min_length=1, description="http(s)://host:port, one or more.")
    api_key: SecretStr | None = Field(default=None, description="Base64 API key.")
    username: str | None = Field(default=None, description="Basic authentication.")
    password: SecretStr | None = Field(default=None, description="Basic authentication.")
    tls: TlsSettings = TlsSettings()
    connect_timeout_seconds: float = Field(default=5.0, gt=0)
    request_timeout_seconds: float = Field(default=60.0, gt=0)

    index: str = Field(
        default="{database}-{table}",
        description="Name of the alias per table; {source}, {database}, {table} are filled in.",
    )
    mappings: str = Field(
        default="mappings",
        description="Folder of <database>.<table>.json overrides, relative to cdc-config.",
    )
    shards: int = Field(default=1, ge=1, le=1024, description="Of indices made from now on.")
    field_budget: int = Field(
        default=1000, ge=10, le=10_000, description="Most fields that one index may have."
    )
    server_types: tuple[ServerType, ...] | Literal["ask"] = Field(
        default="ask",
        description="Optional field types to use; `ask` the server which of them it has.",
    )

    refresh: Refresh = Refresh.INTERVAL
    refresh_interval_seconds: float = Field(default=1.0, ge=0.1, le=3600)
    adaptive: AdaptiveSettings = AdaptiveSettings()

    lanes: int = Field(default=4, ge=1, le=64, description="Most bulk requests in flight.")
    request_bytes: int = Field(default=2 << 20, ge=64 << 10, le=64 << 20)
    in_flight_bytes: int = Field(default=48 << 20, ge=1 << 20, description="Memory bound.")

    tombstones_kept_hours: float = Field(
        default=30 * 24,
        gt=0,
        description="How long a deleted row is remembered: at least the topics' retention plus "
        "their segment time plus the dead letters' retention.",
    )
    purge_every_minutes: float = Field(default=60, gt=0)

    @field_validator("hosts")
    @classmethod
    def _are_urls(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            parts = urlsplit(host)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("a host is written http://name:port or https://name:port")
            if parts.username or parts.password:
                raise ValueError("credentials belong into username and password, not into the URL")
        return hosts

    @field_validator("index")
    @classmethod
    def _is_index_template(cls, index: str) -> str:
        named = set(re.findall(r"\{(\w*)\}", index))
        if "table" not in named or named - _PLACEHOLDERS or not _INDEX_TEMPLATE.fullmatch(index):
            raise ValueError(
                "an index name is lower case and contains {table}; {source} and {database} may "
                "stand in it as well"
            )
        return index

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.api_key is not None and self.username is not None:
            raise ValueError("give either api_key or username and password")
        if (self.tls.certificate_file is None) != (self.tls.key_file is None):
            raise ValueError("tls.certificate_file and tls.key_file go together")
        if self.tls != TlsSettings() and not all(h.startswith("https://") for h in self.hosts):
            raise ValueError("tls is set, but a host is not https://")
        return self
