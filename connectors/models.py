"""What a Debezium MySQL connector must say for Callsheet's promises to hold.

`MysqlCapture` is the list: each field is one setting, its type is what is allowed, and its
description is the reason, which a fault quotes. Settings that are not listed are the user's own
business; Connect validates them (`connectors.apply`).
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from connectors.zones import known

AVRO = "io.confluent.connect.avro.AvroConverter"
JSON = "org.apache.kafka.connect.json.JsonConverter"

Text = Annotated[str, Field(min_length=1)]

DATETIME_ZONE: Final = "callsheet.datetime.zone"
"""Ours, not Debezium's: Connect keeps it with the connector and hands it out with its settings."""
DATETIME_ZONE_DEFAULT: Final = "UTC"
HEARTBEAT_HINT: Final = "/*+ SET_VAR(lock_wait_timeout=1) */"


def _waits_briefly(query: str) -> str:
    """
    Raises:
        ValueError: the query may wait for a lock as long as MySQL likes: a year.
    """
    if not re.search(r"SET_VAR\s*\(\s*lock_wait_timeout\s*=", query, re.IGNORECASE):
        raise ValueError(f"must have {HEARTBEAT_HINT} behind its first word")
    return query


class MysqlCapture(BaseModel):
    """One connector's settings, by their Kafka Connect names."""

    model_config = ConfigDict(frozen=True, extra="allow")

    connector_class: Literal["io.debezium.connector.mysql.MySqlConnector"] = Field(
        alias="connector.class", description="the one source that Callsheet's decoders know"
    )
    tasks_max: Literal["1"] = Field(
        "1", alias="tasks.max", description="one binlog is read by one task; more would do nothing"
    )

    hostname: Text = Field(alias="database.hostname", description="where MySQL is")
    port: Text = Field("3306", alias="database.port", description="where MySQL is")
    user: Text = Field(alias="database.user", description="a user with least privilege, not root")
    password: Text = Field(
        alias="database.password", description="a reference such as ${env:CALLSHEET_...}"
    )
    server_id: Annotated[int, Field(ge=1, le=2**32 - 1)] = Field(
        alias="database.server.id",
        description="MySQL drops the older of two replicas that share an id; a random one, "
        "Debezium's default, could be anybody's",
    )
    topic_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = Field(
        alias="topic.prefix", description="it begins each topic's name and keys the offsets"
    )
    tables: Text = Field(
        alias="table.include.list", description="a table that nobody asked for has no topic"
    )

    snapshot_mode: Literal["initial", "no_data", "recovery"] = Field(
        alias="snapshot.mode",
        description="'when_needed' hides a gap in the log behind a new snapshot, which tells no "
        "deletes",
    )
    poll_interval_ms: Annotated[int, Field(ge=1, le=100)] = Field(
        alias="poll.interval.ms",
        description="it is a floor under the latency of every change; Debezium's default is 500",
    )
    heartbeat_interval_ms: Annotated[int, Field(ge=1, le=60_000)] = Field(
        alias="heartbeat.interval.ms",
        description="health is progress, and an idle source makes progress only by heartbeats",
    )
    heartbeat_query: Annotated[str, AfterValidator(_waits_briefly)] = Field(
        alias="heartbeat.action.query",
        description="a row that travels the whole path proves it, also while the tables are quiet; "
        "the thread that takes a snapshot writes it too, and behind DDL that waits for the "
        "snapshot's locks it would wait for ever",
    )
    keep_alive: Literal["true"] = Field(
        "true", alias="connect.keep.alive", description="a dead socket looks like an idle source"
    )
    keep_alive_interval_ms: Annotated[int, Field(ge=1_000, le=60_000)] = Field(
        60_000,
        alias="connect.keep.alive.interval.ms",
        description="an idle source beats every 0.8 of it; below a second, a short stall of the "
        "reader would count as a dead connection",
    )
    signal_collection: Text = Field(
        alias="signal.data.collection",
        description="without the table there are no incremental snapshots",
    )
    read_only: Literal["false"] = Field(
        "false",
        alias="read.only",
        description="a read-only incremental snapshot gives its rows the position of the change "
        "that comes next: of one row, the older content would win",
    )

    bigint_unsigned: Literal["precise"] = Field(
        alias="bigint.unsigned.handling.mode",
        description="'long', the default, turns values above 2^63-1 negative",
    )
    binary: Literal["bytes"] = Field(
        "bytes", alias="binary.handling.mode", description="the decoders expect raw bytes"
    )
    time_precision: Literal["adaptive_time_microseconds"] = Field(
        "adaptive_time_microseconds",
        alias="time.precision.mode",
        description="any other mode loses microseconds or the type",
    )
    source_types: Literal[".*"] = Field(
        alias="column.propagate.source.type",
        description="sinks derive their types from MySQL's own (DECIMAL's scale, SET, JSON)",
    )

    datetime_zone: Annotated[str, AfterValidator(known)] = Field(
        DATETIME_ZONE_DEFAULT,
        alias=DATETIME_ZONE,
        description="a DATETIME has no zone of its own: this says by whose clock its readers may "
        "take it, such as UTC, America/Los_Angeles or +02:00",
    )
    tombstones: Literal["true"] = Field(
        "true", alias="tombstones.on.delete", description="a compacted topic forgets deletes else"
    )
    skipped_operations: Literal["none"] = Field(
        alias="skipped.operations", description="the default, 't', hides each TRUNCATE"
    )
    transaction_metadata: Literal["true"] = Field(
        alias="provide.transaction.metadata",
        description="transaction id and order give every change its identity",
    )
    schema_changes: Literal["true"] = Field(
        "true", alias="include.schema.changes", description="DDL is part of the log"
    )
    event_failures: Literal["fail"] = Field(
        "fail",
        alias="event.processing.failure.handling.mode",
        description="skipping a change that cannot be read loses it",
    )
    schema_failures: Literal["fail"] = Field(
        "fail",
        alias="inconsistent.schema.handling.mode",
        description="skipping changes of a table whose schema is unknown loses them",
    )
    history_brokers: Text = Field(
        alias="schema.history.internal.kafka.bootstrap.servers",
        description="where the history of the schema is kept",
    )
    history_topic: Text = Field(
        alias="schema.history.internal.kafka.topic",
        description="without its history the connector cannot read old binlogs",
    )
    unparseable_ddl: Literal["false"] = Field(
        "false",
        alias="schema.history.internal.skip.unparseable.ddl",
        description="a skipped ALTER misreads every row that follows it",
    )

    exactly_once: Literal["required"] = Field(
        alias="exactly.once.support",
        description="after a crash without it, changes were seen to be missing for good",
    )
    transaction_boundary: Literal["poll"] = Field(
        "poll", alias="transaction.boundary", description="an interval would add to the latency"
    )
    tolerance: Literal["none"] = Field(
        "none", alias="errors.tolerance", description="'all' drops records without a word"
    )
    log_messages: Literal["false"] = Field(
        "false", alias="errors.log.include.messages", description="rows do not belong in a log"
    )
    key_converter: Literal[
        "io.confluent.connect.avro.AvroConverter", "org.apache.kafka.connect.json.JsonConverter"
    ] = Field(alias="key.converter", description="Callsheet decodes Avro and JSON")
    value_converter: Literal[
        "io.confluent.connect.avro.AvroConverter", "org.apache.kafka.connect.json.JsonConverter"
    ] = Field(alias="value.converter", description="Callsheet decodes Avro and JSON")
