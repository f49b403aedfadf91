"""The driver's errors, turned into ours without a row's value in them.

What a driver raises carries the statement, and with it the values; MySQL's own sentences repeat
them as well. So nothing of it is chained: the number and the column are what is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from callsheet.batch import Partition
from callsheet.errors import FatalError, RetryableError
from sinks.sql.dialect import Diagnosis, Dialect, Trouble

_ACCOUNT: Final = (
    "check sink.username, sink.password, the database's name and the grants that docs/sql.md "
    "lists; the offsets are kept"
)
_NUMBER: Final = (
    "look up what the number means, and what the server's own log says of that moment; the "
    "offsets are kept"
)


class Failed(Exception):  # noqa: N818 - never leaves this package
    """A statement failed. A plain class: a context manager must be able to let it pass."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.detail)
        self.trouble, self.detail = diagnosis.trouble, diagnosis.detail
        self.is_account = diagnosis.is_account

    def as_error(self, address: str) -> RetryableError | FatalError:
        if self.trouble in {Trouble.AWAY, Trouble.AGAIN}:
            return RetryableError(
                f"the replica at {address} does not answer as it should: {self.detail}",
                hint="nothing is lost; it is tried again",
            )
        return FatalError(
            f"the replica at {address} refuses us: {self.detail}",
            hint=_ACCOUNT if self.is_account else _NUMBER,
        )


class Fenced(Exception):  # noqa: N818 - never leaves this package
    """Another owner has claimed these partitions since."""

    def __init__(self, partitions: Collection[Partition]) -> None:
        super().__init__(", ".join(map(str, sorted(partitions))))
        self.partitions = frozenset(partitions)


@contextmanager
def told(dialect: Dialect) -> Iterator[None]:
    """Raises Failed instead of what the driver raises."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise Failed(dialect.diagnosis(error)) from None
