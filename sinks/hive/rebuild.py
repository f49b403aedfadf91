"""A state of the audit into a file, or into a table of another database."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from callsheet.errors import PreconditionError, UnavailableError, UsageError
from sinks.hive.archive import ImageColumn
from sinks.hive.state import State, polars_type

_CHUNK_ROWS: Final = 2_000
_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%S%.6f"
_MYSQL_SESSION: Final = (
    "SET time_zone = '+00:00', foreign_key_checks = 0, "
    "sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'"
)
"""TIMESTAMP is kept in UTC; tables are rebuilt one by one; a key of 0 is a key of 0."""
_KEY_LENGTH: Final = 255
_TEXT: Final = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4"), "mysql")
_TYPES: Final[Mapping[str, sa.types.TypeEngine[Any]]] = {
    "STRING": _TEXT,
    "ARRAY<FLOAT>": _TEXT,
    "BIGINT": sa.BigInteger(),
    "INT": sa.Integer(),
    "DOUBLE": sa.Double(),
    "BOOLEAN": sa.Boolean(),
    "DATE": sa.Date(),
    "TIMESTAMP": sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql"),
    "BINARY": sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"),
}
_KEYS: Final[Mapping[str, sa.types.TypeEngine[Any]]] = {
    "STRING": sa.String(_KEY_LENGTH).with_variant(
        mysql.VARCHAR(_KEY_LENGTH, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
    ),
    "BINARY": sa.LargeBinary().with_variant(mysql.VARBINARY(_KEY_LENGTH), "mysql"),
}
"""A key has a length in MySQL."""


# --- files ----------------------------------------------------------------------------------------

_WRITERS: Final[Mapping[str, Callable[[pl.DataFrame, Path], object]]] = {
    ".parquet": lambda frame, path: frame.write_parquet(path),
    ".csv": lambda frame, path: as_text(frame).write_csv(path),
    ".ndjson": lambda frame, path: as_text(frame).write_ndjson(path),
}
FILE_TYPES: Final = tuple(_WRITERS)


def write_file(state: State, path: Path) -> int:
    """Rows written. The file appears whole or not at all, and replaces none.

    Raises:
        UsageError: a kind of file that we do not write, or it is there already.
        PreconditionError: the folder cannot be written.
    """
    writer = _WRITERS.get(path.suffix)
    if writer is None:
        raise UsageError(f"{path}: what kind of file?", hint=f"end it in {', '.join(FILE_TYPES)}")
    if path.exists():
        raise UsageError(f"{path} is there already", hint="remove it, or name another")
    aside = path.with_name(f".{path.name}-{uuid4().hex[:8]}")
    try:
        writer(state.frame, aside)
        aside.rename(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise PreconditionError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="is the folder there, and is there room?",
        ) from error
    return state.frame.height


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns that a text format has no exact form for, as texts: decimals in plain notation,
    times in ISO-8601, bytes in base64.
    """
    return frame.select(_text(pl.col(name), kind) for name, kind in frame.schema.items())


def _text(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    match kind:
        case pl.Decimal():
            return column.cast(pl.String)
        case pl.Datetime():
            return column.dt.strftime(_TIME_FORMAT)
        case pl.Date():
            return column.cast(pl.String)
        case pl.Binary():
            return column.bin.encode("base64")
        case pl.List():
            return column.map_elements(lambda items: json.dumps(items.to_list()), pl.String)
        case _:
            return column


# --- databases ------------------------------------------------------------------------------------


def write_table(state: State, url: sa.URL, name: str) -> int:
    """Rows written, in one transaction. The table may be there and must be empty: then its own
    types count, and its generated columns are left to it. Otherwise it is made.

    Raises:
        UsageError: it has rows, or lacks a column; or the URL's driver is not here.
        UnavailableError: the database does not answer, or does not let us in.
        PreconditionError: it does not take the rows.
    """
    engine = _engine(url)
    try:
        with _connected(engine) as connection, connection.begin():
            if engine.dialect.name == "mysql":
                connection.exec_driver_sql(_MYSQL_SESSION)
            there = _target(connection, state, name)
            columns = [each for each in state.columns if each.name in there]
            # Typed as the values are: what the table's own types are is the database's business.
            typed = [sa.column(each.name, _sql_type(each.hive, is_key=False)) for each in columns]
            statement = sa.insert(sa.table(name, *typed))
            for chunk in _records(state, columns, there, engine.dialect.name):
                connection.execute(statement, chunk)
    except sa.exc.SQLAlchemyError as error:
        raise PreconditionError(
            f"the table {name} could not be written: {_number(error)}",
            hint="nothing of it was; look the number up: rights, the table's types, or its room",
        ) from error
    finally:
        engine.dispose()
    return state.frame.height


def _engine(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(url, hide_parameters=True)
    except (sa.exc.ArgumentError, ImportError) as error:
        raise UsageError(
            f"there is no driver for {url.drivername} here",
            hint="for MySQL write mysql+pymysql://…; others need their driver installed",
        ) from error


def _connected(engine: sa.Engine) -> sa.Connection:
    try:
        return engine.connect()
    except (sa.exc.SQLAlchemyError, OSError) as error:
        where = engine.url.set(password=None).render_as_string()
        raise UnavailableError(
            f"{where} does not let us in: {_number(error)}",
            hint="is the address right, does the user exist, with this password?",
        ) from error


def _number(error: BaseException) -> str:
    """The driver's kind of error and its number: its sentence may show a row's values."""
    origin = getattr(error, "orig", None) or error
    number = origin.args[0] if origin.args and isinstance(origin.args[0], int) else ""
    return f"{type(origin).__name__} {number}".rstrip()


_Types = Mapping[str, str]
"""Columns to fill and their types in MySQL's words; empty where they are of no consequence."""

_MYSQL_COLUMNS: Final = sa.text(
    "SELECT column_name, LOWER(data_type), generation_expression <> '' "
    "FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = :name"
)


def _target(connection: sa.Connection, state: State, name: str) -> _Types:
    """Which columns to fill; the table is made if it is not there."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(name):
        _columns_of(state, name).create(connection)
        return {each.name: "" for each in state.columns}
    if connection.execute(sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)).first():
        raise UsageError(
            f"the table {name} has rows already", hint="rebuild into an empty one, or a new one"
        )
    there, generated = _described(connection, inspector, name)
    missing = [each.name for each in state.columns if each.name not in there.keys() | generated]
    if missing:
        raise UsageError(
            f"the table {name} has no column {', '.join(missing)}",
            hint="bring it to the schema of that time, or let the rebuild make the table",
        )
    return there


def _described(
    connection: sa.Connection, inspector: sa.Inspector, name: str
) -> tuple[_Types, set[str]]:
    """The columns of a table, and the generated ones, which cannot be filled."""
    if connection.dialect.name == "mysql":
        # Not the inspector: SQLAlchemy 2.0 stumbles over VECTOR.
        told = [tuple(row) for row in connection.execute(_MYSQL_COLUMNS, {"name": name})]
    else:
        told = [(each["name"], "", "computed" in each) for each in inspector.get_columns(name)]
    filled = {column: kind for column, kind, is_generated in told if not is_generated}
    return filled, {column for column, *_ in told} - filled.keys()


def _columns_of(state: State, name: str) -> sa.Table:
    key = state.schema.key
    return sa.Table(
        name,
        sa.MetaData(),
        *(
            sa.Column(
                each.name,
                _sql_type(each.hive, is_key=each.name in key),
                primary_key=each.name in key,
                autoincrement=False,
            )
            for each in state.columns
        ),
    )


def _sql_type(hive: str, *, is_key: bool) -> sa.types.TypeEngine[Any]:
    if is_key and hive in _KEYS:
        return _KEYS[hive]
    kind = polars_type(hive)
    if isinstance(kind, pl.Decimal):
        # SQLite has no exact numbers beyond 64 bits.
        return sa.Numeric(kind.precision, kind.scale).with_variant(sa.Text(), "sqlite")
    return _TYPES[hive]


def _records(
    state: State, columns: list[ImageColumn], there: _Types, dialect: str
) -> Iterator[list[dict[str, Any]]]:
    kinds = state.frame.schema
    frame = state.frame.select(
        _for_sql(pl.col(each.name), kinds[each.name], there[each.name], dialect).alias(each.name)
        for each in columns
    )
    for chunk in frame.iter_slices(_CHUNK_ROWS):
        yield chunk.to_dicts()


def _for_sql(value: pl.Expr, kind: pl.DataType, target: str, dialect: str) -> pl.Expr:
    if isinstance(kind, pl.Decimal) and dialect == "sqlite":
        return _text(value, kind)
    if isinstance(kind, pl.List):
        return value.map_elements(_floats, pl.Binary) if target == "vector" else _text(value, kind)
    if target == "bit" and isinstance(kind, pl.Binary):
        # BIT(n) comes little-endian, and MySQL writes it the other way round.
        return value.map_elements(lambda bits: bits[::-1], pl.Binary)
    return value


def _floats(vector: pl.Series) -> bytes:
    """As MySQL keeps a VECTOR."""
    return struct.pack(f"<{len(vector)}f", *vector.to_list())
