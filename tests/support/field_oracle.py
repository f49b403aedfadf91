"""Field rules one row and one value at a time, in plain Python: what the columns are judged by."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from callsheet.config.fields import TableRules
from callsheet.event import decode_id, encode_id, id_part
from callsheet.schema import Kind, TableSchema


class DoesNotFitError(Exception):
    """The row's record is a dead letter."""


class Oracle:
    """``values``: per masked column that is no text, what its values become."""

    def __init__(
        self, rules: TableRules, schema: TableSchema, key: str, values: Mapping[str, Any]
    ) -> None:
        self._rules, self._schema, self._key = rules, schema, key.encode()
        self._values = values

    def image(self, row: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Raises:
        DoesNotFitError: a cast is not exact.
        """
        if row is None:
            return None
        made: dict[str, Any] = {}
        for column in self._schema.columns:
            name = column.name
            if name not in self._schema.key and self._is_gone(name):
                continue
            made[self._rules.rename.get(name, name)] = self._cell(name, column.kind, row[name])
        return made | dict(self._rules.constant)

    def identifier(self, identifier: str) -> str:
        parts = zip(self._schema.key, decode_id(identifier), strict=True)
        return encode_id(
            [self._hash(part) if name in self._rules.hash else part for name, part in parts]
        )

    def _is_gone(self, name: str) -> bool:
        if self._rules.include:
            return name not in self._rules.include
        return name in self._rules.exclude

    def _cell(self, name: str, kind: Kind, value: Any) -> Any:
        rules = self._rules
        if value is None:
            return None
        if name in rules.hash:
            return self._hash(id_part(value))
        if name in rules.cast:
            return cast_value(value, rules.cast[name])
        if name not in rules.mask:
            return value
        mask = rules.mask[name]
        if kind is not Kind.STRING:
            return self._values[name]
        if not mask.keep_last or len(value) < 2 * mask.keep_last:
            return mask.mark
        return mask.mark + value[-mask.keep_last :]

    def _hash(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def cast_value(value: Any, target: str) -> Any:  # noqa: C901 - one case per target
    """Raises:
    DoesNotFitError: it is not exact.
    """
    match target.partition("(")[0]:
        case "text":
            return _text(value)
        case "integer":
            number = _number(value)
            if number != int(number) or not -(1 << 63) <= number < 1 << 63:
                raise DoesNotFitError
            if isinstance(value, str) and not re.fullmatch(r"-?(0|[1-9][0-9]{0,18})", value):
                raise DoesNotFitError
            return int(number)
        case "decimal":
            precision, scale = map(int, re.findall(r"\d+", target))
            number = _number(value)
            if abs(number) >= 10 ** (precision - scale) or number * 10**scale % 1:
                raise DoesNotFitError
            return number
        case "boolean":
            if value not in (0, 1):
                raise DoesNotFitError
            return value == 1
        case "date" if isinstance(value, datetime):
            return value.date()
        case _:
            if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
                raise DoesNotFitError
            try:
                return date.fromisoformat(value)
            except ValueError as error:
                raise DoesNotFitError from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else id_part(value)


def _number(value: Any) -> Decimal:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,38}(\.[0-9]{1,38})?", value):
        raise DoesNotFitError
    return Decimal(value)
