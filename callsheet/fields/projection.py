"""A table's rules under one schema: checked once, compiled once, applied to every batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Final

import polars as pl
from polars.datatypes import DataTypeClass

from callsheet.batch import Batch
from callsheet.config.fields import FieldSettings, TableRules
from callsheet.errors import FatalError, Reason
from callsheet.event import decode_id, encode_id
from callsheet.fields.columns import KeyedHash, Rewrite, cast, hashed, kept, masked, renamed
from callsheet.schema import Column, Kind, Rule, TableSchema

_IMAGES: Final = ("before", "after")
_CONSTANTS: Final = {
    bool: (Kind.BOOLEAN, pl.Boolean()),
    int: (Kind.INTEGER, pl.Int64()),
    str: (Kind.STRING, pl.String()),
}


class UnfitRulesError(ValueError):
    """The rules do not fit the table. ``faults``: every one of them, without the table's name."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A row with a value that cannot be cast."""

    index: int
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Projection:
    """What a batch of one schema becomes.

    Attributes:
        schema: of the images that :meth:`frame` makes.
        rewrites: the columns that stay, in the source's order.
        constants: name to value, behind them.
        hashed_key: which parts of the ID are replaced by their hashes.
    """

    schema: TableSchema
    rewrites: tuple[Rewrite, ...]
    constants: Mapping[str, bool | int | str]
    hashed_key: frozenset[int]
    keyed: KeyedHash

    def frame(self, frame: pl.DataFrame) -> pl.DataFrame:
        changed = frame.with_columns(self._image(name) for name in _IMAGES)
        if not self.hashed_key:
            return changed
        names = [self._identifier(name) for name in frame["id"].to_list()]
        return changed.with_columns(pl.Series("id", names, dtype=pl.String))

    def misfits(self, before: pl.DataFrame, after: pl.DataFrame) -> list[Misfit]:
        """Rows of which a value got lost: ``before`` and ``after`` this projection."""
        found: dict[int, Misfit] = {}
        for rewrite in self.rewrites:
            if rewrite.can_fail:
                for index in _lost(before, after, rewrite):
                    detail = f"column {rewrite.source}: its value cannot be cast exactly"
                    found.setdefault(index, Misfit(index, Reason.UNREPRESENTABLE, detail))
        return [found[index] for index in sorted(found)]

    def _image(self, image: str) -> pl.Expr:
        source = pl.col(image)
        cells = [
            rewrite.make(source.struct.field(rewrite.source)).alias(rewrite.column.name)
            for rewrite in self.rewrites
        ]
        for name, value in self.constants.items():
            cells.append(pl.lit(value, dtype=_CONSTANTS[type(value)][1]).alias(name))
        return pl.when(source.is_not_null()).then(pl.struct(cells)).alias(image)

    def _identifier(self, identifier: str) -> str:
        if len(self.schema.key) == 1 and "%" not in identifier:
            return self.keyed.of(identifier)  # its only part, written as it is
        parts = enumerate(decode_id(identifier))
        return encode_id([self.keyed.of(p) if n in self.hashed_key else p for n, p in parts])


def _lost(before: pl.DataFrame, after: pl.DataFrame, rewrite: Rewrite) -> list[int]:
    lost = pl.Series([False] * before.height, dtype=pl.Boolean)
    for image in _IMAGES:
        was = before[image].struct.field(rewrite.source)
        lost |= was.is_not_null() & after[image].struct.field(rewrite.column.name).is_null()
    return lost.arg_true().to_list()


class Projections:
    """The field rules of a pipeline."""

    def __init__(self, settings: FieldSettings) -> None:
        self._tables = settings.tables
        # Without a key no rule hashes: the settings say so.
        self._keyed = KeyedHash(settings.hash_key.get_secret_value() if settings.hash_key else "")
        self._known: dict[object, Projection | None] = {}

    def of(self, batch: Batch) -> Projection | None:
        """None where no rule touches the table.

        Raises:
            UnfitRulesError: they name what is not there, or does not suit.
        """
        image = batch.frame.schema["after"]
        # A FLOAT may come in 32 or in 64 bits under the same schema.
        known_by = (batch.schema.fingerprint, image)
        if known_by not in self._known:
            rules = rules_of(self._tables, batch.schema.qualified_name)
            types = {f.name: _instance(f.dtype) for f in _fields(image)}
            self._known[known_by] = (
                projection(rules, batch.schema, self._keyed, types) if rules else None
            )
        return self._known[known_by]


def rules_of(tables: Sequence[TableRules], name: str) -> TableRules | None:
    """The first entry whose pattern matches ``database.table``."""
    return next((rules for rules in tables if fnmatchcase(name, rules.table)), None)


def projection(
    rules: TableRules,
    schema: TableSchema,
    keyed: KeyedHash,
    types: Mapping[str, pl.DataType],
) -> Projection:
    """``types``: of the image's columns; empty where nothing will be computed.

    Raises:
        UnfitRulesError: with everything that is wrong.
    """
    faults = [*_absent(rules, schema), *_key_faults(rules, schema)]
    rewrites: list[Rewrite] = []
    for column in schema.columns:
        if not _stays(rules, schema, column.name):
            continue
        try:
            rewrites.append(_rewritten(rules, column, keyed, types.get(column.name)))
        except ValueError as fault:
            faults.append(f"column {column.name}: {fault}")
    columns = [r.column for r in rewrites] + [_constant(*item) for item in rules.constant.items()]
    faults += _collisions(columns)
    if faults:
        raise UnfitRulesError(faults)
    return Projection(
        schema=_schema(rules, schema, columns),
        rewrites=tuple(rewrites),
        constants=dict(rules.constant),
        hashed_key=frozenset(n for n, name in enumerate(schema.key) if name in rules.hash),
        keyed=keyed,
    )


def _stays(rules: TableRules, schema: TableSchema, name: str) -> bool:
    return name in schema.key or (
        name in rules.include if rules.include else name not in rules.exclude
    )


def _rewritten(
    rules: TableRules, column: Column, keyed: KeyedHash, dtype: pl.DataType | None
) -> Rewrite:
    name = column.name
    rewrite = kept(column)
    if name in rules.mask:
        rewrite = masked(column, rules.mask[name], dtype)
    elif name in rules.hash:
        rewrite = hashed(column, keyed)
    elif name in rules.cast:
        rewrite = cast(column, rules.cast[name])
    return renamed(rewrite, rules.rename.get(name, name))


def _absent(rules: TableRules, schema: TableSchema) -> list[str]:
    missing = rules.named - {column.name for column in schema.columns} - rules.may_be_absent
    return [f"column {name} is not in the table" for name in sorted(missing)]


def _key_faults(rules: TableRules, schema: TableSchema) -> list[str]:
    """The ID carries the key's values whatever becomes of the columns: hiding a key column would
    hide nothing, and changing its type would part the column from the ID.
    """
    refused = {"excluded": rules.exclude, "masked": rules.mask, "cast": rules.cast}
    return [
        f"column {name} is of the key, which the ID carries: it cannot be {done} (hash it instead)"
        for done, names in refused.items()
        for name in schema.key
        if name in names
    ]


def _collisions(columns: Sequence[Column]) -> list[str]:
    names = [column.name for column in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    return [f"two columns would be called {name}" for name in twice]


def _constant(name: str, value: bool | int | str) -> Column:  # noqa: FBT001 - a value, no switch
    return Column(name, _CONSTANTS[type(value)][0], nullable=False, rule=Rule.CONSTANT)


def _schema(rules: TableRules, schema: TableSchema, columns: Sequence[Column]) -> TableSchema:
    key = tuple(rules.rename.get(name, name) for name in schema.key)
    said = repr((schema.source, schema.database, schema.table, tuple(columns), key))
    # A column's repr does not tell of its rule, and a mask need not change anything else of it.
    said += "".join(f"\0{c.rule.value} {c.name}" for c in columns if c.rule)
    digest = blake2b(said.encode(), digest_size=16).hexdigest()
    return replace(schema, columns=tuple(columns), key=key, fingerprint=digest)


def _fields(image: pl.DataType) -> Sequence[pl.Field]:
    if not isinstance(image, pl.Struct):
        raise FatalError(
            f"a batch's image is {image}, no struct",
            hint="this is a defect of the decoder: report it",
        )
    return image.fields


def _instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()
