"""The containers are the native stack in another form; these tests hold them together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import jsonschema
import pytest
from ruamel.yaml import YAML

from callsheet.config.models import HttpSettings
from stack import Ports, environment
from stack.artifacts import locked
from stack.components import Mysql as MysqlComponent
from stack.server import Site
from stack.servers import connect, kafka, mysql, servers

ROOT = Path(__file__).resolve().parents[3]
SERVERS = ("mysql", "kafka", "registry", "connect", "elasticsearch", "hive")
WORKERS = {"search": (), "downstream": ("downstream", "all"), "replica": ("replica", "all"),
           "audit": ("audit", "hive", "all")}  # fmt: skip
"""Pipelines with a service each, and the profiles that start it; none: always."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return loaded


@pytest.fixture
def site() -> Site:
    stand_in = SimpleNamespace(
        ports=Ports(),
        home=Path("/home-of-it"),
        settings={},
        account=None,
        parts={name: Path("/parts", name) for name in (*connect.PLUGINS, "kafka", "mysql")},
    )
    return cast("Site", stand_in)


def test_it_fits_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "tests/support/compose-spec.json").read_text("utf-8"))
    faults = list(jsonschema.Draft202012Validator(schema).iter_errors(compose))
    assert [f"{list(fault.path)}: {fault.message}" for fault in faults] == []


def test_the_schema_does_refuse_nonsense(compose: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "tests/support/compose-spec.json").read_text("utf-8"))
    wrong = {**compose, "services": {"x": {"image": "y", "helthcheck": {}}}}
    assert not jsonschema.Draft202012Validator(schema).is_valid(wrong)


def test_the_versions_are_those_of_the_native_stack(compose: dict[str, Any]) -> None:
    locks = locked()
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert images["mysql"] == f"mysql:{MysqlComponent().release.rstrip('.')}"
    assert images["kafka"] == f"apache/kafka:{locks['kafka'].version}"
    assert images["registry"] == f"apicurio/apicurio-registry:{locks['registry'].version}"
    assert images["elasticsearch"] == f"elasticsearch:{locks['elasticsearch'].version}"
    assert images["hive"] == f"apache/hive:{locks['hive'].version}"
    assert images["replica-mysql"] == images["mysql"]
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert f"FROM apache/kafka:{locks['kafka'].version} AS connect" in dockerfile


def test_every_server_is_asked_for_its_health_and_kept_to_loopback(compose: dict[str, Any]) -> None:
    for name in SERVERS:
        service = compose["services"][name]
        assert service["healthcheck"]["test"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        default = getattr(Ports(), name)
        assert f"-{default}}}:" in service["ports"][0]


def test_mysql_captures_as_the_native_one_does(compose: dict[str, Any], site: Site) -> None:
    native = set(mysql.server_options(site))
    mine = {
        f"{each}=" if "=" not in each else each for each in compose["services"]["mysql"]["command"]
    }
    shared = {option for option in mine if option in native}
    assert mine - shared == set()
    assert {each for each in native if "binlog" in each or "gtid" in each} <= mine


def test_kafka_has_the_same_settings(compose: dict[str, Any], site: Site) -> None:
    of_its_place = re.compile(r"listener|voters|log\.dirs|network|io\.threads|segment|dedupe|share")
    lines = (line.partition("=") for line in kafka.properties(site).splitlines())
    for name, _, value in lines:
        if not of_its_place.search(name):
            variable = f"KAFKA_{name.replace('.', '_').upper()}"
            assert compose["services"]["kafka"]["environment"][variable] == value, name


def test_connect_has_the_same_settings(compose: dict[str, Any], site: Site) -> None:
    def pairs(text: str) -> dict[str, str]:
        found = dict(line.split("=", 1) for line in text.splitlines())
        for name in ("bootstrap.servers", "listeners", "plugin.path", "rest.advertised.host.name"):
            found.pop(name, None)
        return found

    assert pairs(compose["configs"]["connect"]["content"]) == pairs(connect.properties(site))


NATIVE_ONLY = {"CALLSHEET_HDFS_URL", "CALLSHEET_WEBHDFS_URL"}
"""HDFS runs in no container: whoever has one has a cluster."""


def test_the_variables_are_the_same_contract(compose: dict[str, Any], tmp_path: Path) -> None:
    contract = environment.write(tmp_path / "env", Ports()).keys() - NATIVE_ONLY
    services = compose["services"]
    assert services["setup"]["environment"].keys() == contract
    without = contract - {"CALLSHEET_MYSQL_ADMIN_USER", "CALLSHEET_MYSQL_ADMIN_PASSWORD"}
    assert services["search"]["environment"].keys() == without
    assert services["connect"]["environment"].keys() == without


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_is_asked_where_it_answers(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    settings = pipeline(f"{name}.yaml")
    assert service["command"] == ["run", f"cdc-config/pipelines/{name}.yaml"]
    port = HttpSettings(**settings.get("http", {})).port
    assert f"http://127.0.0.1:{port}/livez" in str(service["healthcheck"])
    assert service["restart"] == "on-failure"
    assert "setup" in service["depends_on"]


@pytest.mark.parametrize("name", WORKERS)
def test_all_but_the_index_come_by_profile(compose: dict[str, Any], name: str) -> None:
    assert tuple(compose["services"][name].get("profiles", ())) == WORKERS[name]


def test_what_starts_unasked_is_what_the_index_needs(compose: dict[str, Any]) -> None:
    unasked = {name for name, each in compose["services"].items() if not each.get("profiles")}
    assert unasked == {*SERVERS, "setup", "supervisor", "search"} - {"hive"}


def test_the_connectors_have_their_supervisor(compose: dict[str, Any]) -> None:
    service = compose["services"]["supervisor"]
    assert service["command"] == ["connectors", "supervise"]
    assert service["restart"] == "on-failure"
    assert service["depends_on"]["setup"]["condition"] == "service_completed_successfully"
    assert "CALLSHEET_CAPTURE_PASSWORD" in service["environment"]


def test_a_profile_brings_all_that_its_services_wait_for(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for profile in service.get("profiles", ()):
            for other in service.get("depends_on", {}):
                assert profile in services[other].get("profiles", [profile]), (name, other)


def test_the_replica_is_where_its_pipeline_looks(compose: dict[str, Any]) -> None:
    services = compose["services"]
    account, reader = services["replica-mysql"]["environment"], services["replica"]["environment"]
    url = f"mysql+pymysql://replica-mysql:3306/{account['MYSQL_DATABASE']}"
    assert reader["CALLSHEET_REPLICA_URL"] == url
    sink = pipeline("replica.yaml")["sink"]
    assert f":-{account['MYSQL_USER']}}}" in sink["username"]
    assert account["MYSQL_PASSWORD"] == reader["CALLSHEET_REPLICA_PASSWORD"]
    options = services["replica-mysql"]["command"]
    assert "--server-id=4242" not in options, "the source's own"


def test_the_audit_is_shown_as_it_is_written(compose: dict[str, Any]) -> None:
    """One folder for the worker, for who publishes, and for Hive; one pipeline, with a server."""
    services = compose["services"]
    content = compose["configs"]["audit-in-hive"]["content"].replace("$$", "$")
    shown = YAML(typ="safe").load(content)
    server = shown["sink"].pop("server")
    assert shown == pipeline("audit.yaml")
    assert server["host"] in services
    assert services[server["host"]]["ports"][0].endswith(f":{server['port']}")
    folder = urlsplit(server["location"]).path
    assert f":-{folder}}}" in shown["sink"]["store"]["root"]
    for name in ("audit", "audit-publish", "sweep", "hive", "callsheet"):
        assert services[name]["volumes"][0].startswith(f"audit:{folder}")
    assert f" {folder}\n" in (ROOT / "Dockerfile").read_text("utf-8"), "the volume's owner"


def pipeline(name: str) -> dict[str, Any]:
    text = (ROOT / "cdc-config/pipelines" / name).read_text("utf-8")
    loaded: dict[str, Any] = YAML(typ="safe").load(text)
    return loaded


def test_no_password_has_a_value(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if "PASSWORD" in variable:
                assert re.fullmatch(r"\$\{CALLSHEET_\w+_PASSWORD:\?.+\}", value), (name, variable)


def test_what_a_service_waits_for_exists(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        for other, how in service.get("depends_on", {}).items():
            assert other in services
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
    assert set(servers()) - {"hive", "namenode", "hdfs"} <= services.keys()


def test_the_image_runs_without_root_and_every_copied_path_is_let_through() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    last = dockerfile[dockerfile.rindex("\nFROM ") :]
    assert "USER callsheet" in last
    allowed = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    for path in (path for line in copied for path in line.split()):
        assert f"!{path}" in allowed, path
        assert (ROOT / path).exists(), path
