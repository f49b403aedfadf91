"""Connector files: ``cdc-config/connectors/<name>.json``, in Kafka Connect's own format.

``{"name": ..., "config": {...}}`` is what ``curl -d @file`` posts, so the files serve without
Callsheet too. Every fault of every file is found before anything is raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from callsheet.config.document import Document
from callsheet.config.validation import plain_words
from callsheet.errors import ConfigError, Fault, UsageError
from connectors.documents import read_json
from connectors.masking import is_reference, is_secret_name
from connectors.models import AVRO, JSON, MysqlCapture

_ONE_OF_A_KIND = (
    ("database.server.id", "MySQL drops the older of two readers with one id"),
    ("topic.prefix", "two connectors would mix their topics and offsets"),
    ("schema.history.internal.kafka.topic", "a history belongs to one connector"),
)
_JSON_SETTINGS = (
    ("schemas.enable", "false", "each message would carry its whole schema"),
    ("decimal.format", "NUMERIC", "an unsigned BIGINT would arrive as base64"),
)


@dataclass(frozen=True, slots=True)
class ConnectorFile:
    """A connector as wanted: valid by Callsheet's rules, not yet by Connect's."""

    name: str
    config: Mapping[str, str]
    """Without ``name``; references unresolved."""
    document: Document

    @property
    def path(self) -> Path:
        return Path(self.document.file)

    def fault(self, setting: str, message: str) -> Fault:
        location = ("config", setting) if setting in self.config else ("config",)
        found = self.document.fault(location, message)
        return Fault(message, file=found.file, line=found.line, path=setting)


def load(path: Path) -> ConnectorFile:
    """One connector file.

    Raises:
        ConfigError: with every fault in it.
    """
    document = read_json(path)
    faults = list(_shape_faults(document))
    if not faults:
        file = ConnectorFile(document.root["name"], _texts(document.root["config"]), document)
        faults = list(_faults(file))
        if not faults:
            return file
    raise ConfigError(f"{path} has {len(faults)} fault(s).", faults=faults)


def load_all(paths: Iterable[Path]) -> tuple[ConnectorFile, ...]:
    """Files, and the ``*.json`` of folders, by connector name; checked against one another too.

    Raises:
        ConfigError: with every fault in all of them.
        UsageError: there is no such file, or no connector in the folders.
    """
    files: list[ConnectorFile] = []
    faults: list[Fault] = []
    for path in _expanded(paths):
        try:
            files.append(load(path))
        except ConfigError as error:
            faults.extend(error.faults)
    faults.extend(_clashes(files))
    if faults:
        raise ConfigError(f"The connector files have {len(faults)} fault(s).", faults=faults)
    return tuple(sorted(files, key=lambda file: file.name))


def _expanded(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found.extend(sorted(path.glob("*.json")))
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path} does not exist.", hint="Name a connector file or a folder.")
    if not found:
        raise UsageError(
            "There is no connector file (*.json) here.",
            hint="Name a file NAME.json, or a folder with some, as cdc-config/connectors; "
            "docs/capture.md says what is in one.",
        )
    return found


def _shape_faults(document: Document) -> Iterator[Fault]:
    for key in document.root:
        if key not in {"name", "config"}:
            yield document.fault((key,), 'is not allowed; a connector file has "name" and "config"')
    name, config = document.root.get("name"), document.root.get("config")
    if not isinstance(name, str) or not name:
        yield document.fault(("name",), 'must be the connector\'s name, as "finance-mysql"')
    if not isinstance(config, dict):
        yield document.fault(("config",), "must be an object of settings")
        return
    for key, value in config.items():
        if not isinstance(value, str | int | float):
            yield document.fault(("config", key), "must be a string, a number or a boolean")
    if "name" in config and config["name"] != name:
        yield document.fault(("config", "name"), f'must be the same as "name" above, {name!r}')


def _texts(config: Mapping[str, object]) -> dict[str, str]:
    """As Connect would store them, so that a file and the server can be compared."""
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in config.items()
        if key != "name"
    }


def _faults(file: ConnectorFile) -> Iterator[Fault]:
    if file.path.stem != file.name:
        yield Fault(
            f"the file must be named {file.name}.json, after its connector", file=str(file.path)
        )
    try:
        MysqlCapture.model_validate(dict(file.config))
    except ValidationError as error:
        yield from (_as_fault(file, detail) for detail in error.errors(include_url=False))
    yield from _secrets_in_clear(file)
    yield from _encoding_faults(file)
    for setting in file.config:
        if setting.startswith("topic.creation."):
            message = (
                "must go: topics are created by Callsheet, with stated partitions (topics.yaml)"
            )
            yield file.fault(setting, message)


def _as_fault(file: ConnectorFile, detail: ErrorDetails) -> Fault:
    setting = str(detail["loc"][0])
    reason = next(
        (f.description for f in MysqlCapture.model_fields.values() if f.alias == setting), ""
    )
    match detail["type"]:
        case "missing":
            said = "must be set"
        case "literal_error":
            said = f"must be {detail['ctx']['expected']}".replace("'", '"')
        case _:
            said = plain_words(detail)
    return file.fault(setting, f"{said}: {reason}")


def _secrets_in_clear(file: ConnectorFile) -> Iterator[Fault]:
    for setting, value in file.config.items():
        if is_secret_name(setting) and value and not is_reference(value):
            message = "a secret in clear; keep it out of the file: ${env:CALLSHEET_...}"
            yield file.fault(setting, message)


def _encoding_faults(file: ConnectorFile) -> Iterator[Fault]:
    """Keys and values in one format, and decimals in the form that keeps them exact in it."""
    key, value = file.config.get("key.converter"), file.config.get("value.converter")
    if key != value:
        yield file.fault("key.converter", "must be the same as value.converter")
    decimals = {AVRO: "precise", JSON: "string"}.get(value or "")
    if decimals and file.config.get("decimal.handling.mode", "precise") != decimals:
        reason = "'double' loses cents; Avro has exact decimals, JSON needs them as strings"
        yield file.fault("decimal.handling.mode", f'must be "{decimals}": {reason}')
    for side in ("key", "value"):
        yield from _converter_faults(file, f"{side}.converter")


def _converter_faults(file: ConnectorFile, side: str) -> Iterator[Fault]:
    converter = file.config.get(side)
    if converter == AVRO:
        if not file.config.get(f"{side}.schema.registry.url"):
            yield file.fault(f"{side}.schema.registry.url", "must be set: where schemas are kept")
        for setting in ("schema.name.adjustment.mode", "field.name.adjustment.mode"):
            if file.config.get(setting) not in {"avro", "avro_unicode"}:
                message = 'must be "avro": a name that Avro does not take would fail the task'
                yield file.fault(setting, message)
    if converter == JSON:
        for setting, wanted, reason in _JSON_SETTINGS:
            if file.config.get(f"{side}.{setting}") != wanted:
                yield file.fault(f"{side}.{setting}", f'must be "{wanted}": {reason}')


def _clashes(files: Sequence[ConnectorFile]) -> Iterator[Fault]:
    names: dict[str, ConnectorFile] = {}
    for file in files:
        if (first := names.setdefault(file.name, file)) is not file:
            yield file.document.fault(("name",), f"{file.name!r} is {first.path}'s name already")
    for setting, reason in _ONE_OF_A_KIND:
        owners: dict[str, ConnectorFile] = {}
        for file in files:
            if (value := file.config.get(setting)) is None:
                continue
            if (first := owners.setdefault(value, file)) is not file:
                yield file.fault(setting, f"{value!r} is {first.name}'s already: {reason}")
