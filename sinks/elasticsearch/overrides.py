"""``cdc-config/mappings/<database>.<table>.json``: what people want of an index beyond the default.

A file is a part of an index' definition::

    {"settings": {"analysis": {...}}, "mappings": {"properties": {"name": {...}}}}

A field that names its ``type`` replaces the derived one; one that does not is merged into it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from callsheet.errors import ConfigError, Fault
from sinks.elasticsearch.fields import META

_OURS = frozenset({"refresh_interval", "index.refresh_interval"})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MappingsPart(_Part):
    properties: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _leaves_ours_alone(self) -> Self:
        if META in self.properties:
            raise ValueError(f"properties.{META} is Callsheet's own field")
        return self


class Override(_Part):
    """One file, validated. Empty where a table has none."""

    settings: dict[str, Any] = Field(default_factory=dict)
    mappings: MappingsPart = MappingsPart()

    @model_validator(mode="after")
    def _leaves_settings_alone(self) -> Self:
        taken = sorted(_OURS & self.settings.keys())
        if taken:
            raise ValueError(f"settings.{taken[0]} is set by the pipeline's `sink:` block")
        return self

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
        return Override.model_validate(json.loads(file.read_text("utf-8")))
    except json.JSONDecodeError as error:
        fault = Fault(error.msg, file=str(file), line=error.lineno, column=error.colno)
        raise wrong(fault) from error
    except (UnicodeDecodeError, OSError) as error:
        raise wrong(Fault(f"cannot be read: {error}", file=str(file))) from error
    except ValidationError as error:
        faults = [
            Fault(e["msg"], file=str(file), path=".".join(map(str, e["loc"])))
            for e in error.errors(include_url=False, include_input=False)
        ]
        raise wrong(*faults) from error
