"""Whose fault is it: the table's, which must wait for a human, or that of single records?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from callsheet.codec.avro_schema import SchemaError, fields_of, optional
from callsheet.codec.envelope import foreign
from callsheet.errors import PoisonRecordError, Reason

MAX_EMBEDDED_BYTES: Final = 1 << 20
"""Of a schema within a record: each different one is remembered."""
_ENVELOPE: Final = frozenset({"before", "after", "source", "op"})


@contextmanager
def blamed(is_table: Callable[[], bool]) -> Iterator[None]:
    """A schema of no use parks its topic where it is a table's; anybody else's is the fault of the
    records that travel under it, and of no others.
    """
    try:
        yield
    except (SchemaError, RecursionError) as fault:
        why = "it nests too deeply" if isinstance(fault, RecursionError) else str(fault)
        try:
            is_ours = is_table()
        except (SchemaError, RecursionError):
            is_ours = False
        if is_ours:
            raise SchemaError(why) from fault
        raise foreign(f"its schema is unusable: {why}") from fault


def claims_envelope(schema: Any) -> bool:
    """Whether an Avro or Connect schema, sound or not, has the fields of a change envelope."""
    fields = schema.get("fields") if isinstance(schema, Mapping) else None
    if not isinstance(fields, list):
        return False
    names = (f.get("name", f.get("field")) for f in fields if isinstance(f, Mapping))
    return {name for name in names if isinstance(name, str)} >= _ENVELOPE


def check_key(names: tuple[str, ...], tree: Any) -> None:
    """Raises:
    PoisonRecordError: no key of this row. That is one producer's doing, no change of the table.
    """
    if not names:
        raise PoisonRecordError(Reason.MISSING_KEY, "the key has no columns")
    if not set(names) <= fields_of(optional(fields_of(tree)["after"]).node).keys():
        raise PoisonRecordError(Reason.KEY_MISMATCH, "the key names a column that the row has not")
