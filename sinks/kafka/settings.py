"""The ``sink:`` block of a pipeline whose ``type`` is ``kafka``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from callsheet.config.fields import is_pattern
from callsheet.config.source import RegistrySettings
from callsheet.schema import TableSchema

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_PLACEHOLDERS: Final = frozenset({"prefix", "source", "database", "table"})
_OWNED: Final = frozenset(
    {"cleanup.policy", "retention.ms", "max.message.bytes", "delete.retention.ms"}
)


class Mode(StrEnum):
    LOG = "log"
    """Every change, in the order of the source's log."""
    LATEST = "latest"
    """The latest state per ID in a compacted topic; a tombstone where a row was deleted."""


class KafkaSinkSettings(BaseModel):
    """The topics downstream. The brokers are the pipeline's own: transactions span one cluster."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str = Field(
        default="downstream", pattern=r"^[A-Za-z0-9._-]{1,100}$", description="Of the topics."
    )
    topic: str = Field(
        default="{prefix}.{database}.{table}",
        description="Name of the topic per table; {prefix}, {source}, {database}, {table} are "
        "filled in.",
    )
    routes: Mapping[str, str] = Field(
        default_factory=dict,
        description="Tables (`database.table`; `*`, `?` and `[...]` match as in file names) that "
        "go to a topic of another name, in which {prefix}, {source}, {database}, {table} are "
        "filled in as well. A table takes the first entry that matches it.",
    )
    mode: Mode = Mode.LOG
    registry: RegistrySettings = Field(description="Where our events' schemas are registered.")
    optional_columns: bool = Field(
        default=True,
        description="Let every column but the key be null in the contract, so that a NOT NULL "
        "column can be added or dropped without parking the table.",
    )

    partitions: int = Field(
        default=4,
        ge=1,
        le=10_000,
        description="Of topics made from now on. Never changed later: a key keeps its partition.",
    )
    replication_factor: int = Field(default=-1, ge=-1, description="-1: the brokers' default.")
    retention_hours: float | None = Field(
        default=168.0, gt=0, description="Of `mode: log`; null keeps everything for ever."
    )
    tombstones_kept_hours: float = Field(
        default=168.0,
        gt=0,
        description="Of `mode: latest`: how long a reader may be away and still hear of deletes.",
    )
    max_message_bytes: int = Field(
        default=4 << 20,
        ge=1 << 20,
        le=512 << 20,
        description="Of the topics; a larger event becomes a dead letter.",
    )
    topic_config: Mapping[str, str] = Field(
        default_factory=dict, description="Further settings of the topics, as Kafka names them."
    )
    remembered_ids: int = Field(
        default=200_000,
        ge=0,
        description="Of `mode: latest`: for how many IDs per partition a repeat of the source that "
        "runs backwards is recognised.",
    )

    def topic_of(self, schema: TableSchema) -> str:
        """Where a table's events go."""
        return self._template_of(schema.qualified_name).format(
            prefix=self.prefix,
            source=schema.source,
            database=schema.database,
            table=schema.table,
        )

    def _template_of(self, name: str) -> str:
        return next(
            (topic for table, topic in self.routes.items() if _matches(name, table)), self.topic
        )

    def fixed_topics(self) -> list[str]:
        """Those of the routes whose names are known before any table is."""
        return [topic for topic in self.routes.values() if not _named(topic)]

    def wanted_config(self) -> dict[str, str]:
        """The topics' settings, all that we state."""
        kept_hours = self.retention_hours
        stated = {"max.message.bytes": str(self.max_message_bytes)}
        if self.mode is Mode.LATEST:
            stated |= {
                "cleanup.policy": "compact",
                "delete.retention.ms": _millis(self.tombstones_kept_hours),
            }
        else:
            stated |= {
                "cleanup.policy": "delete",
                "retention.ms": "-1" if kept_hours is None else _millis(kept_hours),
            }
        return {**self.topic_config, **stated}

    @field_validator("topic")
    @classmethod
    def _is_template(cls, topic: str) -> str:
        if "table" not in _named(topic) or not _is_name(topic):
            raise ValueError(
                "a topic's name consists of letters, digits, . _ - and contains {table}; {prefix}, "
                "{source} and {database} may stand in it as well"
            )
        return topic

    @field_validator("routes")
    @classmethod
    def _are_routes(cls, routes: Mapping[str, str]) -> Mapping[str, str]:
        before: list[str] = []
        for table, topic in routes.items():
            if len(table.split(".")) != 2 or not all(table.split(".")):
                raise ValueError(f"{table!r} is not of the form database.table")
            if not _is_name(topic):
                raise ValueError(f"{topic!r} is no topic name")
            first = next((each for each in before if _matches(table, each)), None)
            if first is not None and not is_pattern(table):
                raise ValueError(f"{table} comes too late: {first} matches it before")
            if is_pattern(table) and "table" not in _named(topic):
                raise ValueError(
                    f"{table} may match two tables, so {topic!r} must contain {{table}}"
                )
            before.append(table)
        spelled = [_spelled(*each) for each in routes.items() if not is_pattern(each[0])]
        if len(set(spelled)) < len(spelled):
            raise ValueError("two tables go to one topic, whose schema can be only one table's")
        return routes

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if owned := sorted(_OWNED & self.topic_config.keys()):
            raise ValueError(f"topic_config: {', '.join(owned)} follow from the settings above")
        return self


def _matches(name: str, table: str) -> bool:
    """A table of just this name too, should it have a pattern's sign in it."""
    return name == table or fnmatchcase(name, table)


def _spelled(table: str, topic: str) -> str:
    """The topic as far as it is known without a connector."""
    database, name = table.split(".")
    return topic.replace("{database}", database).replace("{table}", name)


def _named(topic: str) -> set[str]:
    """The placeholders in it."""
    return set(re.findall(r"\{(\w*)\}", topic))


def _is_name(topic: str) -> bool:
    bare = re.sub(r"\{\w*\}", "x", topic)
    return _named(topic) <= _PLACEHOLDERS and _NAME.fullmatch(bare) is not None


def _millis(hours: float) -> str:
    return str(round(hours * 3_600_000))
