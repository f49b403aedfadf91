"""The ``source:`` block of a pipeline file: which topics, in which format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from callsheet.config.section import Section

_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")


class RegistrySettings(Section):
    """Where Avro schemas come from."""

    url: str = Field(
        pattern=r"^https?://",
        description="Base address of a Confluent-compatible schema registry.",
    )
    username: str | None = Field(default=None, description="Basic authentication.")
    password: SecretStr | None = Field(default=None, description="Basic authentication.")
    bearer_token: SecretStr | None = Field(default=None, description="Instead of a user.")
    ca_file: Path | None = Field(default=None, description="CA certificates (PEM) to trust.")
    certificate_file: Path | None = Field(default=None, description="Our own certificate (PEM).")
    key_file: Path | None = Field(default=None, description="The key of `certificate_file`.")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.bearer_token is not None and self.username is not None:
            raise ValueError("give either bearer_token or username and password")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        return self


class SourceSettings(Section):
    """What is read."""

    format: Literal["avro", "json"] = Field(description="How the connector writes its records.")
    topics: tuple[str, ...] = Field(default=(), description="Topics by name.")
    topics_pattern: str | None = Field(
        default=None,
        description="Instead of `topics`: a regular expression; new topics that match join in.",
    )
    registry: RegistrySettings | None = Field(default=None, description="For `format: avro`.")
    schemas_dir: Path = Field(
        default=Path("schemas"),
        description="For `format: json`: the tables' declared schemas (*.avsc), relative to the "
        "configuration folder. Needed where the records carry no schema of their own.",
    )
    topic_prefix: str = Field(
        default="", description="The connector's `topic.prefix`, to know its own topics by."
    )
    boolean_columns: tuple[str, ...] = Field(
        default=(), description="TINYINT(1) columns that are booleans, as database.table.column."
    )
    heartbeat_tables: frozenset[str] = Field(
        default=frozenset({"callsheet_heartbeat"}),
        description="Tables that exist only to move; their changes are skipped.",
    )
    epochs: Mapping[str, int] = Field(
        default_factory=dict,
        description="Per source (topic prefix) what is added to its binlog file numbers: raise it "
        "when a source is replaced and its binlog starts again.",
    )

    @field_validator("topics")
    @classmethod
    def _are_topics(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        for topic in topics:
            if not _TOPIC.fullmatch(topic):
                raise ValueError(f"{topic!r} is no topic name; a pattern goes to topics_pattern")
        if len(set(topics)) < len(topics):
            raise ValueError("a topic is listed twice")
        return topics

    @field_validator("topics_pattern")
    @classmethod
    def _is_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern

    @field_validator("boolean_columns")
    @classmethod
    def _are_columns(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        for column in columns:
            if len(column.split(".")) != 3 or not all(column.split(".")):
                raise ValueError(f"{column!r} is not of the form database.table.column")
        return columns

    @field_validator("epochs")
    @classmethod
    def _are_epochs(cls, epochs: Mapping[str, int]) -> Mapping[str, int]:
        if any(not 0 <= epoch < 1 << 30 for epoch in epochs.values()):
            raise ValueError("an epoch is at least 0 and below 2^30")
        return epochs

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if bool(self.topics) == (self.topics_pattern is not None):
            raise ValueError("give either topics or topics_pattern")
        if self.format == "avro" and self.registry is None:
            raise ValueError("format: avro needs a registry")
        return self

    def subscription(self) -> tuple[str, ...]:
        """As the Kafka client wants it: a pattern starts with ``^``."""
        if self.topics_pattern is None:
            return self.topics
        return ("^" + self.topics_pattern.removeprefix("^"),)

    def reads(self, topic: str) -> bool:
        """Would this subscription read the topic?"""
        if self.topics_pattern is None:
            return topic in self.topics
        return re.match(self.topics_pattern, topic) is not None
