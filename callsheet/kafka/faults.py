"""What an error of the Kafka client means for us: one table, one function, no I/O."""

from __future__ import annotations

from confluent_kafka import KafkaError

from callsheet.errors import (
    CallsheetError,
    ConfigError,
    FatalError,
    FencedError,
    PreconditionError,
    RetryableError,
)

# librdkafka spells its local errors with a leading underscore.
FENCED = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001
        KafkaError._MAX_POLL_EXCEEDED,  # noqa: SLF001
    }
)
REFUSED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError._INVALID_ARG,  # noqa: SLF001
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.INVALID_REGULAR_EXPRESSION,
    }
)
PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TIMED_OUT_QUEUE,  # noqa: SLF001
        KafkaError._WAIT_COORD,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError._WAIT_CACHE,  # noqa: SLF001
        KafkaError._STATE,  # noqa: SLF001
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
    }
)

_REPLACED = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()

ADMIN_DEFAULTS = {"log_level": 0, "metadata.max.age.ms": 5_000}
"""Of every admin client. It lists offsets under the leader epoch that it knows, and when the
brokers refuse that as outdated it does not ask for a newer one: after a restart of a broker it
would be blind until its metadata expires, by default for 15 minutes.
"""


def is_refusal(error: KafkaError) -> bool:
    """Does it stay so until a human has changed something?

    A broker that is gone while we tell it who we are leaves the code of a wrong password behind.
    """
    code = error.code()
    is_loss = code == KafkaError._AUTHENTICATION and "Local: " in error.str()  # noqa: SLF001
    return code in REFUSED and not is_loss


def translated(error: KafkaError, doing: str) -> CallsheetError:
    """The error of our own that says how to recover from this one."""
    code, text = error.code(), f"{doing}: {error.str()}"
    # What ends the client says what it was in words only; its code is that of any fatal error.
    if code == KafkaError.FENCED_INSTANCE_ID or _REPLACED in error.str():
        # Brokers also say so to a member that joins again because their answer was lost (KIP-345):
        # after a broker's restart, for instance. So it is worth a new start soon.
        return PreconditionError(
            f"{doing}: the group takes us for another worker with our instance id",
            hint="a worker is started again, and nothing is lost. If it says so again and again: "
            "give each run its own kafka.instance_id, or leave it out",
        )
    if code in FENCED:
        return FencedError(text)
    if is_refusal(error):
        return ConfigError(
            text, hint="look at kafka.properties in the pipeline file, and at the brokers' ACLs"
        )
    if error.fatal():
        return FatalError(text, hint="the offsets are kept; start the worker again")
    if code in PASSING or code in REFUSED or error.retriable():
        return RetryableError(text, hint="is the broker up? `callsheet stack status`")
    return FatalError(text, hint="the offsets are kept; start the worker again")
