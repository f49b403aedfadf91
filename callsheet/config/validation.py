"""What a model says about a document, as faults with lines and with what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from callsheet.config.document import Document, Path
from callsheet.config.interpolation import is_reference
from callsheet.errors import Fault

_SECRET_PROPERTY = ("password", "secret", "token", "jaas", "ssl.key.pem")


def faults_of(
    error: ValidationError, model: type[BaseModel], document: Document, prefix: Path = ()
) -> Iterator[Fault]:
    """One fault for each thing that the model refuses. Never quotes a value: it may be secret."""
    for problem in error.errors(include_input=False, include_url=False):
        location = _keys(problem["loc"], document, prefix)
        yield document.fault((*prefix, *location), _message(problem, model, location))


def _keys(location: Sequence[str | int], document: Document, prefix: Path) -> Path:
    """Without what pydantic adds for unions and discriminators, which no file contains."""
    path: Path = ()
    for depth, part in enumerate(location):
        is_last = depth == len(location) - 1
        above = document.raw((*prefix, *path))
        is_there = isinstance(part, int) or (isinstance(above, Mapping) and part in above)
        if is_there or (is_last and isinstance(above, Mapping)):
            path = (*path, part)
    return path


def _message(problem: Any, model: type[BaseModel], location: Path) -> str:
    allowed = _allowed(model, location[:-1])
    match problem["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(location[-1]), allowed, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            return f"unknown key{meant} (allowed: {', '.join(sorted(allowed))})"
        case "missing":
            return "is missing"
        case _:
            text: str = problem["msg"]
            text = text.removeprefix("Value error, ")
            return (
                text.replace("Input should", "must")
                .replace("String should", "must")
                .replace("must be a valid", "must be a")
            )


def _allowed(model: type[BaseModel], path: Path) -> list[str]:
    """Names of the keys of the section that ``path`` leads to."""
    section: type[BaseModel] | None = model
    is_entry = False  # of a list or a mapping of sections: its place in there is no key of ours
    for part in path:
        if section is None:
            break
        if is_entry:
            is_entry = False
            continue
        field = section.model_fields.get(str(part))
        section = _section_of(field.annotation) if field else None
        is_entry = field is not None and get_origin(field.annotation) in (tuple, Mapping)
    return [] if section is None else list(section.model_fields)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((s for a in get_args(annotation) if (s := _section_of(a))), None)


def bare_secrets(model: type[BaseModel], document: Document, prefix: Path = ()) -> Iterator[Fault]:
    """Secrets that stand in the file itself instead of being referred to. Looks at the file, not
    at the loaded settings: it is told together with all other faults.
    """
    for name, field in model.model_fields.items():
        path, raw = (*prefix, name), document.raw((*prefix, name))
        section = _section_of(field.annotation)
        if section is not None:
            yield from bare_secrets(section, document, path)
        elif isinstance(raw, Mapping):
            for key in raw:
                if any(word in str(key).lower() for word in _SECRET_PROPERTY):
                    yield from _bare(document, (*path, key))
        elif _holds_secret(field.annotation):
            yield from _bare(document, path)


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def _bare(document: Document, path: Path) -> Iterator[Fault]:
    raw = document.raw(path)
    if raw is not None and not (isinstance(raw, str) and is_reference(raw)):
        yield document.fault(path, "a secret is written as ${env:NAME} or ${file:PATH}")
