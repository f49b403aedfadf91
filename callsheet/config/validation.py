"""What a model says about a document, as faults with lines and with what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from callsheet.config.document import Document, Path
from callsheet.config.interpolation import is_reference
from callsheet.errors import Fault

_ENTRIES = (tuple, list, dict, Mapping)
_SECRET_PROPERTY = ("password", "secret", "token", "jaas", "ssl.key.pem")


def faults_of(
    error: ValidationError, model: type[BaseModel], document: Document, prefix: Path = ()
) -> Iterator[Fault]:
    """One fault for each thing that the model refuses. Never quotes a value: it may be secret."""
    messages: dict[Path, list[str]] = {}
    for problem in error.errors(include_input=False, include_url=False):
        location = _keys(problem["loc"], document, prefix)
        messages.setdefault(location, []).append(_message(problem, model, location))
    for location, several in messages.items():  # one for each form that a value may have
        yield document.fault((*prefix, *location), " or ".join(dict.fromkeys(several)))


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
        case "model_type":
            return f"must be a mapping with the keys {', '.join(_allowed(model, location))}"
        case _:
            return plain_words(problem)


_WORDS: Mapping[str, str] = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping of keys to values",
    "extra_forbidden": "unknown key",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "frozen_set_type": "must be a list",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "mapping_type": "must be a mapping of keys to values",
    "missing": "is missing",
    "model_type": "must be a mapping of keys to values",
    "path_type": "must be a path",
    "set_type": "must be a list",
    "string_pattern_mismatch": "must have the form {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_type": "must be a text (write it in quotes)",
    "too_short": "must have at least {min_length} of them",
    "tuple_type": "must be a list",
    "url_parsing": "must be a URL, like http://host:port",
    "url_type": "must be a URL, like http://host:port",
}
"""For pydantic's types of error. The others' own words are plain enough."""


def plain_words(problem: Any) -> str:
    """One of pydantic's errors for somebody who knows neither it nor Python."""
    known = _WORDS.get(problem["type"])
    if known is not None:
        context = problem.get("ctx", {})
        return known.format(**{name: _shortest(value) for name, value in context.items()})
    text: str = problem["msg"]
    text = text.removeprefix("Value error, ").replace("Input should", "must")
    return text.replace("String should", "must").replace("must be a valid", "must be a")


def _shortest(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
        is_entry = field is not None and get_origin(field.annotation) in _ENTRIES
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
