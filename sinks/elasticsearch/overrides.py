"""``cdc-config/mappings/<database>.<table>.json``: what people want of an index beyond the default.

A file is a part of an index' definition::

    {"settings": {"analysis": {...}}, "mappings": {"properties": {"name": {...}}}}

A field that names its ``type`` replaces the derived one; one that does not is merged into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from callsheet.config.document import Document, parse_json
from callsheet.config.validation import faults_of
from callsheet.errors import ConfigError, Fault
from sinks.elasticsearch.fields import META

_OURS = frozenset({"refresh_interval", "index.refresh_interval"})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MappingsPart(_Part):
    properties: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Override(_Part):
    """One file, validated. Empty where a table has none."""

    settings: dict[str, Any] = Field(default_factory=dict)
    mappings: MappingsPart = MappingsPart()

    def applied(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """The derived properties with this file's wishes worked in."""
        merged = dict(properties)
        for name, wish in self.mappings.properties.items():
            replaces = "type" in wish or name not in merged
            merged[name] = dict(wish) if replaces else _merged(merged[name], wish)
        return merged


def unmet(existing: Mapping[str, Any], override: Override) -> list[str]:
    """Fields of an index that are not as the file wants them: the index was made before it.

    Elasticsearch spells a mapping its own way, so only what it keeps as written is compared: the
    subfields' names and the analyzer. A field that is not there yet is about to be added.
    """
    found: list[str] = []
    for name, wish in override.mappings.properties.items():
        has = existing.get(name, wish)
        if "analyzer" in wish and has.get("analyzer") != wish["analyzer"]:
            found.append(name)
        lacking = wish.get("fields", {}).keys() - has.get("fields", {}).keys()
        found += sorted(f"{name}.{part}" for part in lacking)
    return found


def _merged(base: Mapping[str, Any], wish: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in wish.items():
        old = out.get(key)
        out[key] = (
            _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return out


def load(folder: Path) -> dict[str, Override]:
    """All overrides by ``database.table``. An absent folder has none.

    Raises:
        ConfigError: with every fault of every file.
    """
    found: dict[str, Override] = {}
    faults: list[Fault] = []
    for file in sorted(folder.glob("*.json")):
        try:
            found[file.stem] = _read(file)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(
            f"{len(faults)} fault(s) in the mappings under {folder}",
            hint="docs/elasticsearch.md says what a mapping file may contain",
            faults=faults,
        )
    return found


def _read(file: Path) -> Override:
    def wrong(*faults: Fault) -> ConfigError:
        return ConfigError(f"{file} is no valid mapping", faults=faults)

    if file.stem.count(".") != 1 or not all(file.stem.split(".")):
        raise wrong(Fault("name the file <database>.<table>.json", file=str(file)))
    try:
        document = parse_json(file.read_text("utf-8"), str(file))
    except UnicodeDecodeError as error:
        raise wrong(Fault("is not UTF-8", file=str(file))) from error
    except OSError as error:
        raise wrong(Fault(f"cannot be read: {error.strerror}", file=str(file))) from error
    taken = list(_taken(document))
    try:
        override = Override.model_validate(document.plain())
    except ValidationError as error:
        raise wrong(*faults_of(error, Override, document), *taken) from error
    if taken:
        raise wrong(*taken)
    return override


def _taken(document: Document) -> Iterator[Fault]:
    """What is not for a file to say."""
    for name in sorted(_OURS):
        if document.raw(("settings", name)) is not None:
            message = "is set by the pipeline's `sink:` block: refresh"
            yield document.fault(("settings", name), message)
    if document.raw(("mappings", "properties", META)) is not None:
        yield document.fault(("mappings", "properties", META), "is Callsheet's own field")
