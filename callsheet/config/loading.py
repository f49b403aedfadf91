"""From a pipeline file to settings: every fault at once, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from callsheet.config.document import Document, Path, parse
from callsheet.config.interpolation import Interpolation
from callsheet.config.models import PipelineSettings
from callsheet.config.validation import bare_secrets, faults_of
from callsheet.errors import ConfigError, Fault
from callsheet.kafka.settings import OWNED

if TYPE_CHECKING:  # it brings polars, and the parent process of the workers must stay small
    from callsheet.sink import SinkPlugin

_M = TypeVar("_M", bound=BaseModel)

PluginLookup = Callable[[str], "SinkPlugin"]
"""Finds a sink by name; raises ConfigError. Injected: the core knows no destination."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A loaded pipeline file.

    Attributes:
        file: as it was named to us.
        config_dir: what relative paths in it are relative to.
        settings: the core's part.
        plugin, sink: the destination, and its validated settings.
    """

    file: str
    config_dir: FilePath
    settings: PipelineSettings
    plugin: SinkPlugin
    sink: BaseModel

    @property
    def name(self) -> str:
        return self.settings.name


def config_dir_of(file: FilePath) -> FilePath:
    """``cdc-config/pipelines/x.yaml`` belongs to ``cdc-config``, a file elsewhere to its folder."""
    folder = file.absolute().parent
    return folder.parent if folder.name == "pipelines" else folder


def load(file: FilePath, env: Mapping[str, str], plugins: PluginLookup) -> Pipeline:
    """Raises:
    ConfigError: with every fault of the file.
    """
    return load_text(read(file), file, env, plugins)


def load_text(text: str, file: FilePath, env: Mapping[str, str], plugins: PluginLookup) -> Pipeline:
    """The same, from a text that was read before; ``file`` is for messages and relative paths."""
    loading = _Loading(text, file, env)
    settings = loading.core()
    plugin, sink = loading.destination(plugins)
    if settings is None or plugin is None or sink is None or loading.faults:
        raise loading.failed()
    return Pipeline(str(file), config_dir_of(file), settings, plugin, sink)


def load_core(text: str, file: FilePath, env: Mapping[str, str]) -> PipelineSettings:
    """Only the core's part: for the parent process, which needs no destination's libraries."""
    loading = _Loading(text, file, env)
    settings = loading.core()
    if settings is None or loading.faults:
        raise loading.failed()
    return settings


def read(file: FilePath) -> str:
    """Raises:
    ConfigError: there is no such file, or it is not text.
    """
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}",
            hint="give a pipeline file, for instance cdc-config/pipelines/search.yaml",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8", hint="save it as UTF-8") from error


class _Loading:
    def __init__(self, text: str, file: FilePath, env: Mapping[str, str]) -> None:
        self._document: Document = parse(text, str(file))
        self.faults: list[Fault] = []
        interpolation = Interpolation(env, file.absolute().parent, self._note)
        self._tree = interpolation.of(self._document.plain())

    def _note(self, path: tuple[str | int, ...], message: str) -> None:
        self.faults.append(self._document.fault(path, message))

    def core(self) -> PipelineSettings | None:
        self.faults += bare_secrets(PipelineSettings, self._document)
        for name in self._document.raw(("kafka", "properties")) or ():
            if name in OWNED:
                self._note(("kafka", "properties", name), f"is not yours to set: {OWNED[name]}")
        return self._validated(PipelineSettings, self._tree)

    def destination(self, plugins: PluginLookup) -> tuple[SinkPlugin | None, BaseModel | None]:
        block = self._tree.get("sink")
        if not isinstance(block, Mapping) or not isinstance(block.get("type"), str):
            return None, None  # the core's part has said so
        try:
            plugin = plugins(block["type"])
        except ConfigError as error:
            allowed = f" ({error.hint})" if error.hint else ""
            self._note(("sink", "type"), error.message + allowed)
            return None, None
        self.faults += bare_secrets(plugin.settings, self._document, ("sink",))
        own = {key: value for key, value in block.items() if key != "type"}
        return plugin, self._validated(plugin.settings, own, ("sink",))

    def _validated(self, model: type[_M], tree: object, prefix: Path = ()) -> _M | None:
        try:
            return model.model_validate(tree)
        except ValidationError as error:
            # What could not be resolved has been told; that it is empty now is no second fault.
            told = {fault.path for fault in self.faults}
            found = faults_of(error, model, self._document, prefix)
            self.faults += [fault for fault in found if fault.path not in told]
            return None

    def failed(self) -> ConfigError:
        # A secret in the sink's block is seen by both parts, and told once.
        once = {str(fault): fault for fault in self.faults}.values()
        faults = sorted(once, key=lambda fault: fault.line)
        number = f"{len(faults)} faults" if len(faults) != 1 else "1 fault"
        return ConfigError(
            f"{self._document.file}: {number}",
            hint="every key is explained in docs/configuration.md",
            faults=faults,
        )
