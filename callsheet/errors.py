"""Every error Callsheet raises, grouped by how one recovers from it.

::

    CallsheetError
      ConfigError            a human must edit a file            exit 78, nothing consumed
      UsageError             the command was called wrongly      exit 2
      UnavailableError       a server that a command needs is    exit 69
                             not there
      PreconditionError      the environment lacks something     exit 75, says what to change
      PoisonRecordError      one record: reason, detail          dead-letter it, go on
      ParkTableError         one table: reason, detail           pause it, uncommitted and listed
      RetryableError         a neighbour is away                 hold, back off with full jitter
        ThrottledError       ... and said for how long
      FatalError             going on would lose or corrupt      stop, offsets kept, exit 1
        DeadLetterError      the safety net itself failed
        FencedError          another member owns our work now

An error's text is one clear sentence, and ``hint`` says what to do next. Neither ever carries a
secret or a row's values.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Reason(StrEnum):
    """Why one record cannot be delivered: a closed set, because it becomes a metric label."""

    MALFORMED = "malformed"
    """The bytes do not decode: truncated, spare bytes, wrong frame, not JSON."""
    UNKNOWN_SCHEMA = "unknown_schema"
    """The registry does not know the schema id that the bytes name."""
    FOREIGN = "foreign"
    """It decodes, but is no change event: another envelope, another source."""
    SCHEMALESS = "schemaless"
    """JSON without a schema, for a table that has none declared."""
    SCHEMA_MISMATCH = "schema_mismatch"
    """A value does not fit the declared schema."""
    MISSING_KEY = "missing_key"
    """No key, so no ID."""
    KEY_MISMATCH = "key_mismatch"
    """The message's key and its payload name different IDs."""
    OVERSIZE = "oversize"
    """Larger than the destination takes."""
    REJECTED = "rejected"
    """The destination refused this document and said why."""
    UNREPRESENTABLE = "unrepresentable"
    """A value which the destination's type cannot hold exactly."""


class CallsheetError(Exception):
    """Base of all. ``exit_code`` follows sysexits.h where it has a fitting number."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Fault:
    """One thing wrong in a file: where, what, and what is allowed."""

    __slots__ = ("column", "file", "line", "message", "path")

    def __init__(
        self, message: str, *, file: str = "", line: int = 0, column: int = 0, path: str = ""
    ) -> None:
        self.message, self.file, self.line, self.column, self.path = (
            message, file, line, column, path,
        )  # fmt: skip

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (where, self.path, self.message) if part)


class ConfigError(CallsheetError):
    """A human must edit a file. Carries every fault found, not only the first."""

    exit_code = 78

    def __init__(self, message: str, *, hint: str = "", faults: Sequence[Fault] = ()) -> None:
        super().__init__(message, hint=hint)
        self.faults = tuple(faults)


class UsageError(CallsheetError):
    exit_code = 2


class UnavailableError(CallsheetError):
    """A server that the command needs does not answer."""

    exit_code = 69


class PreconditionError(CallsheetError):
    """The environment lacks something (a JDK, a grant, a port); ``hint`` says what to change."""

    exit_code = 75


class PoisonRecordError(CallsheetError):
    """One record cannot be processed, now or later; the records around it can."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class ParkTableError(CallsheetError):
    """One table must wait for a human (an incompatible change); the others go on."""

    def __init__(self, topic: str, reason: str, detail: str, *, hint: str = "") -> None:
        super().__init__(f"{topic} is parked: {reason}: {detail}", hint=hint)
        self.topic = topic
        self.reason = reason
        self.detail = detail


class RetryableError(CallsheetError):
    """A neighbour is away; the same call may succeed later."""


class ThrottledError(RetryableError):
    """The neighbour said for how long to leave it alone."""

    def __init__(self, message: str, *, retry_after_s: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class FatalError(CallsheetError):
    """Going on would lose or corrupt data: stop, keep the offsets."""


class DeadLetterError(FatalError):
    """The dead letter could not be stored; its record must not be committed."""


class FencedError(FatalError):
    """Another member owns our partitions: nothing may be written or committed any more."""
