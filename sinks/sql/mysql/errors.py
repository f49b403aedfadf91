"""What MySQL's error numbers ask for: a pure function, tested with literal errors."""

from __future__ import annotations

import re
from typing import Any, Final

import pymysql.err
import sqlalchemy as sa

from sinks.sql.dialect import Diagnosis, Trouble

_AGAIN: Final = frozenset({1062, 1205, 1213, 1050, 1060, 1180, 1206, 1412, 1615, 1637, 1684, 3572})
"""1050, 1060: another worker created the table or added the column; 1412, 1615, 1684: it is changed
under us, just now; 1180: the commit failed; 1206, 1637: more locks or transactions than the server
has room for."""

_AWAY: Final = frozenset(
    {
        3, 1021, 1026, 1030, 1037, 1038, 1040, 1041, 1042, 1043, 1053, 1077, 1079, 1080, 1114,
        1135, 1152, 1158, 1159, 1160, 1161, 1203, 1226, 1290, 1317, 1598, 1792, 1836, 1927, 3024,
        3032, 3100, 3101, 3168, 3169, 3170, 3675, 3950, 4031,
    }
)  # fmt: skip
"""No space, no memory, too many connections, shutting down, read-only, killed, idle too long.
A full disk has many numbers: 3 (from the server's file layer, which counts from 1), 1021, 1026,
1030 (whatever the storage engine could not do), 1114, 1598 (the binlog cannot be written)."""

_VALUE: Final = frozenset(
    {
        1048, 1264, 1265, 1292, 1366, 1367, 1406, 1416, 1425, 1426, 1439, 1525, 1690, 1411, 1300,
        3037, 3055, 3140, 3141, 3142, 3144, 3156, 3157, 3548, 3616, 3617, 3618, 3706, 3731, 3732,
        3819, 3830, 6138, 6139, 6418,
    }
)  # fmt: skip

_TABLE: Final = frozenset({1054, 1103, 1136, 1142, 1143, 1146, 1147, 1168, 1176, 1364, 1347, 1471})
_UNKNOWN_US: Final = frozenset({1044, 1045, 1049, 1130, 1227, 1698, 3118, 3159})
_DENIED: Final = frozenset({1142, 1143})
"""Of _TABLE those that a grant would mend."""
_COLUMN: Final = re.compile(r"column '(?:[^'.]*\.)?([^']{1,64})'", re.IGNORECASE)
_CR_FIRST, _CR_LAST = 2000, 2999


def number_of(error: sa.exc.DBAPIError) -> int:
    arguments: tuple[Any, ...] = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


def diagnosis(error: sa.exc.DBAPIError) -> Diagnosis:
    number = number_of(error)
    trouble = _trouble(error, number)
    if trouble is Trouble.AWAY and number == 0:
        return Diagnosis(trouble, "the connection is closed")
    is_account = number in _UNKNOWN_US or number in _DENIED
    return Diagnosis(trouble, f"MySQL error {number}{_place(error)}", is_account=is_account)


def _trouble(error: sa.exc.DBAPIError, number: int) -> Trouble:
    for numbers, trouble in (
        (_VALUE, Trouble.VALUE), (_AGAIN, Trouble.AGAIN), (_TABLE, Trouble.TABLE),
        (_UNKNOWN_US, Trouble.REFUSED), (_AWAY, Trouble.AWAY),
    ):  # fmt: skip
        if number in numbers:
            return trouble
    # The driver's own 2xxx are losses of the connection; its InterfaceError(0) says that the
    # socket was closed before.
    is_lost = error.connection_invalidated or _CR_FIRST <= number <= _CR_LAST
    is_closed = number == 0 and isinstance(error.orig, pymysql.err.InterfaceError | OSError)
    return Trouble.AWAY if is_lost or is_closed else Trouble.REFUSED


def _place(error: sa.exc.DBAPIError) -> str:
    """The column, where the server names one. Its sentence itself repeats the value."""
    arguments: tuple[Any, ...] = getattr(error.orig, "args", ())
    found = _COLUMN.search(str(arguments[1])) if len(arguments) > 1 else None
    return f" in column {found[1]}" if found else ""
