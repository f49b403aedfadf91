"""``docs/configuration.md``, written from the models themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from callsheet.config.models import PipelineSettings
from callsheet.kafka.settings import OWNED

_HEAD = """\
# Configuration

<!-- Generated from the models: `python -m callsheet.cli.reference`. Do not edit. -->

One YAML file per pipeline, in `cdc-config/pipelines/`. `callsheet validate cdc-config` checks all
files and prints every fault with file and line; `callsheet run` refuses a file with a fault before
anything is consumed (exit code 78).

Units stand in the key names. Any text may contain `${env:NAME}`, `${env:NAME:-default}` or
`${file:PATH}` (relative to the file); `$${` is a literal `${`. A secret is accepted only as such a
reference. Other relative paths start at the configuration folder: the parent of `pipelines/`.
Only the files that `kafka.properties` names, as `ssl.ca.location`, are opened by the Kafka client
itself, from the working directory: write them absolute.
A running worker keeps the file as it was when `callsheet run` started.

Bold keys are required.
"""


def reference(sinks: Mapping[str, type[BaseModel]]) -> str:
    """The whole document; ``sinks`` are the settings of each sink by its type."""
    parts = [_HEAD, *_sections(PipelineSettings, "", "A pipeline file")]
    parts.append(_owned())
    for name, model in sorted(sinks.items()):
        parts.append(f"## sink: {name}\n\nBeside `type: {name}`:\n")
        parts += list(_sections(model, "sink", ""))
    return "\n".join(parts).rstrip() + "\n"


def _sections(model: type[BaseModel], path: str, title: str) -> Iterator[str]:
    if title:
        yield f"## {title}\n"
    if path and path != "sink":
        yield f"### {path}\n"
    if path != "sink":
        yield _first_paragraph(model) + "\n"
    yield _table(model)
    for name, field in model.model_fields.items():
        for section in _alternatives(field.annotation):
            place = f"{path}.{name}" if path else name
            kind = section.model_fields.get("type")
            chosen = get_args(kind.annotation) if kind is not None else ()
            yield from _sections(section, f"{place} ({', '.join(chosen)})" if chosen else place, "")


def _table(model: type[BaseModel]) -> str:
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        key = f"**`{name}`**" if field.is_required() else f"`{name}`"
        cells = (key, _kind(field), _default(field), _meaning(field))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _first_paragraph(model: type[BaseModel]) -> str:
    text = (model.__doc__ or "").split("\n\n")[0]
    return " ".join(text.split()).replace("``", "`")


def _meaning(field: FieldInfo) -> str:
    section = _section(field.annotation)
    text = field.description or (_first_paragraph(section) if section else "")
    return " ".join(text.split())


def _default(field: FieldInfo) -> str:
    if field.is_required() or _section(field.annotation):
        return ""
    default = field.get_default(call_default_factory=True)
    if default is None or default is PydanticUndefined or default == {}:
        return ""
    if isinstance(default, Enum):
        return f"`{default.value}`"
    if isinstance(default, tuple | frozenset):
        return ", ".join(f"`{item}`" for item in sorted(default))
    return f"`{default}`" if default != "" else ""


def _kind(field: FieldInfo) -> str:
    return _name_of(field.annotation) + _bounds(field)


def _name_of(annotation: Any) -> str:  # noqa: PLR0911 - one return per kind of type
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _name_of(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_name_of(a) for a in arguments if a is not NoneType))
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (tuple, frozenset, list, set):
        return f"list of {_name_of(arguments[0])}"
    if origin is not None and issubclass(origin, Mapping):
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    if _section(annotation):
        return "section"
    names = {str: "text", int: "integer", float: "number", bool: "boolean", SecretStr: "secret"}
    return names.get(annotation, "path")


def _bounds(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {bound:g}" if isinstance(bound, float) else f"{sign} {bound}"
        for limit in field.metadata
        for name, sign in signs.items()
        if (bound := getattr(limit, name, None)) is not None
    ]
    return f", {', '.join(found)}" if found else ""


def _section(annotation: Any) -> type[BaseModel] | None:
    return next(_alternatives(annotation), None)


def _alternatives(annotation: Any) -> Iterator[type[BaseModel]]:
    """The section that a key holds; several where its `type` chooses."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _alternatives(argument)


def _owned() -> str:
    rows = ["| property | instead |", "| --- | --- |"]
    rows += [f"| `{name}` | {why} |" for name, why in sorted(OWNED.items())]
    text = "`kafka.properties` takes any property of librdkafka but these, which the worker owns:"
    return "## Properties that are not yours to set\n\n" + text + "\n\n" + "\n".join(rows) + "\n"
