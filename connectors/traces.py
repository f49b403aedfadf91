"""Read a failed task's Java stack trace: what broke, and whether trying again can help."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    TRANSIENT = "transient"
    """A neighbour was away, or another took our place: a restart may do."""
    PERMANENT = "permanent"
    """It fails again until somebody changes something."""
    UNKNOWN = "unknown"
    """Nobody has seen it yet: worth a few restarts."""


@dataclass(frozen=True, slots=True)
class Cause:
    """The root of a failure."""

    kind: Kind
    text: str
    """The innermost exception, on one line."""
    hint: str = ""


_MAX_CHARS = 400

_SNAPSHOT_AGAIN = (
    "MySQL has purged the binlog that the connector still needed: changes are missing. "
    "`callsheet connectors offsets reset` starts a new snapshot; then `callsheet sweep`, for a "
    "snapshot does not tell what was deleted meanwhile."
)
_RECOVER_HISTORY = (
    "The schema history is gone: set snapshot.mode to recovery, apply, wait for RUNNING, and set "
    "it back."
)
_INCOMPATIBLE = (
    "The table's new schema breaks the registry's compatibility rule: the registry's words are in "
    "the worker's log."
)
_LARGER = "Raise producer.override.max.request.size and the topics' max_message_bytes together."

# Looked for in the whole chain of causes, in this order: the first that matches decides.
_PERMANENT: tuple[tuple[str, str], ...] = (
    (r"no longer available on the server|purged required binary logs", _SNAPSHOT_AGAIN),
    (r"could not find first log file name", _SNAPSHOT_AGAIN),
    (r"history topic (is missing|or its content is)", _RECOVER_HISTORY),
    (r"access denied", "Check the capture user's password and grants: `callsheet doctor`."),
    (r"unknown database|table '\S+' doesn't exist", "Have the migrations run? `callsheet doctor`."),
    (r"same server_?(uuid|id)", "Give the connector a database.server.id of its own."),
    (r"RecordTooLargeException", _LARGER),
    (r"incompatible with an earlier schema|error code: 409", _INCOMPATIBLE),
    (r"ParsingException", "Debezium cannot parse a DDL statement: it is in the worker's log."),
    (r"(Topic|Cluster|TransactionalId)AuthorizationException", "Grant the rights in Kafka."),
    (r"ConfigException", "Correct the connector's file, then `callsheet connectors apply`."),
)
_TRANSIENT = re.compile(
    r"(RetriableException|CommunicationsException|ConnectException: Connection refused|"
    r"java\.net\.\w+Exception|javax?\.net\.ssl\.SSLException|java\.io\.(IO|EOF)Exception|"
    r"ServerException|TimeoutException|DisconnectException|NotEnoughReplicas|"
    r"CoordinatorNotAvailable|NotCoordinator|NotLeader|LeaderNotAvailable|"
    r"UnknownTopicOrPartition|ProducerFenced|InvalidProducerEpoch|InvalidPidMapping|"
    r"KafkaException: .*(fatal error|error state)|too many connections|deadlock|lock wait)",
    re.IGNORECASE,
)
_DUMP = re.compile(r"\{[^{}]*\}")
_CAUSED_BY = re.compile(r"^\s*Caused by:\s*", re.MULTILINE)


def root_cause(trace: str) -> Cause:
    """The innermost exception of a Java stack trace, and what it means.

    Pure; an empty trace is an unknown cause.
    """
    chain = [_first_line(part) for part in _CAUSED_BY.split(trace) if part.strip()]
    if not chain:
        return Cause(Kind.UNKNOWN, "no trace")
    said = "\n".join(chain)
    text = _without_dumps(chain[-1])[:_MAX_CHARS]
    for pattern, hint in _PERMANENT:
        if re.search(pattern, said, re.IGNORECASE):
            return Cause(Kind.PERMANENT, text, hint)
    if _TRANSIENT.search(said):
        return Cause(Kind.TRANSIENT, text)
    return Cause(Kind.UNKNOWN, text)


def _first_line(part: str) -> str:
    """An exception with its message, of which Java may make several lines, without its frames."""
    lines = []
    for line in part.strip().splitlines():
        if re.match(r"\s*(at \S+\(|\.\.\. \d+ (more|common frames))", line):
            break
        lines.append(line.strip())
    return " ".join(lines)


def _without_dumps(text: str) -> str:
    """Without the objects that Java prints into its messages: long, and rows may be among them."""
    while (shorter := _DUMP.sub("...", text)) != text:
        text = shorter
    return text
