"""A pipeline file, but for its ``sink:`` block, which the sink's own settings validate.

Units stand in the key names. ``docs/configuration.md`` is generated from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from callsheet.config.fields import FieldSettings
from callsheet.config.section import Section
from callsheet.config.source import SourceSettings
from callsheet.limits import TruncatePolicy

_MIB: Final = 1024 * 1024


def _as_text(properties: Any) -> Any:
    """YAML's numbers and booleans, spelled as the Kafka client spells them."""
    if not isinstance(properties, Mapping):
        return properties
    return {
        key: str(value).lower()
        if isinstance(value, bool)
        else str(value)
        if isinstance(value, int | float)
        else value
        for key, value in properties.items()
    }


class KafkaSettings(Section):
    """The brokers, and our place in the consumer group."""

    bootstrap_servers: str = Field(min_length=1, description="host:port, several with commas.")
    group_id: str | None = Field(
        default=None, min_length=1, description="Consumer group; `callsheet-<name>` if not given."
    )
    instance_id: str | None = Field(
        default=None,
        min_length=1,
        description="Static membership: a worker restarted within the session timeout keeps its "
        "partitions. The worker's number is appended. Every host needs its own.",
    )
    properties: Annotated[Mapping[str, SecretStr], BeforeValidator(_as_text)] = Field(
        default_factory=dict,
        description="Further settings of librdkafka: TLS, SASL, timeouts. "
        "Those that the worker owns are refused.",
    )


class DeliverySettings(Section):
    """Bounds: memory, time, and how often is committed."""

    poll_events: int = Field(
        default=4_000, ge=1, le=100_000, description="Most records of one poll: a batch's size."
    )
    in_hand_events: int = Field(
        default=12_000, ge=2, description="Most records read and not durable yet."
    )
    in_hand_bytes: int = Field(
        default=48 * _MIB, ge=_MIB, description="The same in bytes of keys and values."
    )
    prefetch_bytes: int = Field(
        default=16 * _MIB, ge=_MIB, description="What the Kafka client may fetch ahead."
    )
    write_budget_seconds: float = Field(
        default=60.0, gt=0, description="How long a destination may take to accept what was read."
    )
    revoke_budget_seconds: float = Field(
        default=30.0, gt=0, description="How long to finish partitions that another worker gets."
    )
    stop_budget_seconds: float = Field(
        default=30.0, gt=0, description="How long to finish what is in hand when told to stop."
    )
    commit_interval_seconds: float = Field(
        default=1.0, gt=0, le=60, description="How often offsets are committed."
    )
    linger_seconds: float = Field(
        default=0.005,
        ge=0,
        le=1,
        description="While a few records are in hand, wait so long for more before the next turn: "
        "steady traffic costs less, a single change is taken up at once all the same.",
    )
    pause_after_seconds: float = Field(
        default=5.0,
        ge=0,
        description="A slow destination is waited for so long before the partitions are paused: "
        "pausing throws away what was fetched ahead.",
    )
    retry_cap_seconds: float = Field(
        default=15.0, gt=0, description="Longest pause between tries while a neighbour is away."
    )
    held_limit_seconds: float = Field(
        default=120.0, gt=0, description="Held for longer than this, /readyz says no."
    )
    max_poll_interval_seconds: float = Field(
        default=300.0, ge=10, description="Kafka's `max.poll.interval.ms`: beyond it we are out."
    )
    session_timeout_seconds: float = Field(
        default=45.0, ge=6, description="Kafka's `session.timeout.ms`."
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.in_hand_events < 2 * self.poll_events:
            raise ValueError(
                "in_hand_events must be at least twice poll_events: one batch is decoded while "
                "another is sent"
            )
        if self.session_timeout_seconds > self.max_poll_interval_seconds:
            raise ValueError("session_timeout_seconds must not exceed max_poll_interval_seconds")
        return self


class FuseSettings(Section):
    """When dead letters mean that the pipeline is wrong, not the records: the worker stops."""

    run_events: int = Field(default=1_000, ge=1, description="Letters in a row.")
    ratio: float = Field(default=0.1, gt=0, le=1, description="Share of the last records.")
    window_events: int = Field(default=100_000, ge=100, description="How many the last ones are.")
    minimum_letters: int = Field(default=100, ge=1, description="Below it the share says nothing.")


class DeadLetterSettings(Section):
    """Where records go that cannot be delivered."""

    topic: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="Created if missing; `<name>.dead-letters` if not given.",
    )
    retention_hours: float = Field(
        default=14 * 24, gt=0, description="How long letters can be replayed."
    )
    replication_factor: int = Field(
        default=-1, ge=-1, description="Of the topic when it is created; -1: the brokers' default."
    )
    max_message_bytes: int = Field(
        default=17 * _MIB,
        ge=_MIB,
        le=90 * _MIB,
        description="The largest letter; the topic is set to take it. The default takes any value "
        "that is decoded (16 MiB) with key and headers. Of a larger record the letter has the "
        "start, the place and the hash; the record itself stays where it was read.",
    )
    budget_seconds: float = Field(
        default=30.0, gt=0, description="How long until the brokers must have acknowledged one."
    )
    fuse: FuseSettings = FuseSettings()


class HttpSettings(Section):
    """/livez, /readyz, /metrics, served by the parent process of all workers."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8410, ge=0, le=65_535, description="0: any free one.")


class PipelineSettings(Section):
    """One pipeline: a consumer group that carries some topics to one destination."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="Lower case letters, digits, hyphens. Names the group, the dead letters and "
        "the metrics: do not change it while the pipeline lives.",
    )
    source: SourceSettings
    kafka: KafkaSettings
    delivery: DeliverySettings = DeliverySettings()
    fields: FieldSettings = FieldSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    truncate: TruncatePolicy = Field(
        default=TruncatePolicy.PARK,
        description="At a TRUNCATE of the source: `park` the table until a human decides; `skip` "
        "the record, then the destination keeps the rows; or `sweep`: go on, and leave it to "
        "`callsheet sweep` to delete them.",
    )
    truncate_tables: frozenset[str] = Field(
        default=frozenset(),
        description="For `truncate: sweep`: the tables (database.table) that may be emptied so. "
        "At a TRUNCATE of any other the pipeline parks it.",
    )
    workers: int = Field(default=1, ge=1, le=64, description="Processes; `--workers` overrides.")
    http: HttpSettings = HttpSettings()
    sink: Mapping[str, Any] = Field(
        repr=False,  # resolved already, and not known yet what in it is secret
        description="The destination: `type` names it, the rest are its own settings.",
    )

    @property
    def group_id(self) -> str:
        return self.kafka.group_id or f"callsheet-{self.name}"

    @property
    def dead_letter_topic(self) -> str:
        return self.dead_letters.topic or f"{self.name}.dead-letters"

    @field_validator("sink")
    @classmethod
    def _has_type(cls, sink: Mapping[str, Any]) -> Mapping[str, Any]:
        if not isinstance(sink.get("type"), str):
            raise ValueError("`type` is missing: the name of a sink")  # noqa: TRY004 - pydantic's
        return sink

    @field_validator("truncate_tables")
    @classmethod
    def _are_tables(cls, tables: frozenset[str]) -> frozenset[str]:
        for table in sorted(tables):
            if len(table.split(".")) != 2 or not all(table.split(".")):
                raise ValueError(f"{table!r} is not of the form database.table")
        return tables

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.truncate is TruncatePolicy.SWEEP) != bool(self.truncate_tables):
            raise ValueError("truncate: sweep and truncate_tables go together")
        if self.source.reads(self.dead_letter_topic):
            raise ValueError("the pipeline would read its own dead letters")
        delivery, letters_s = self.delivery, self.dead_letters.budget_seconds
        # One turn of the loop may hand over partitions, write, and commit; each waits for letters.
        # Before it a full hand may have been sat out, without a poll.
        turn_s = delivery.write_budget_seconds + delivery.revoke_budget_seconds + 2 * letters_s
        turn_s += delivery.pause_after_seconds
        if turn_s >= delivery.max_poll_interval_seconds:
            raise ValueError(
                f"between two polls may lie {turn_s:g} s (pause_after_seconds + "
                "write_budget_seconds + revoke_budget_seconds + 2 x dead_letters.budget_seconds), "
                "which must stay below max_poll_interval_seconds "
                f"({delivery.max_poll_interval_seconds:g})"
            )
        return self
