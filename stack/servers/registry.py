"""Apicurio Registry behind the API of Confluent's Schema Registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from stack.compatibility import LEVEL, require_backward
from stack.jdk import JavaRequirement
from stack.ports import HOST, Ports
from stack.process import Launch
from stack.server import Site, Traits, http, java_environment


class Registry:
    """Its database is a file: schema ids are in every message, and must survive a restart."""

    traits: ClassVar = Traits(
        name="registry",
        title="Schema Registry",
        components=("registry",),
        java=JavaRequirement(at_least=21),
        grace_s=20.0,
        start_s=120.0,
    )

    def listeners(self, ports: Ports) -> Mapping[str, int]:
        """Its REST API, and the metrics and health pages that it serves apart."""
        return {"registry": ports.registry, "registry_management": ports.registry_management}

    def address(self, ports: Ports) -> str:
        """The address of the Confluent-compatible API."""
        return f"http://{HOST}:{ports.registry}/apis/ccompat/v7"

    def prepare(self, site: Site) -> None:
        """Nothing: it makes its database itself."""

    def launch(self, site: Site) -> Launch:
        """The registry."""
        heap = site.settings.get("CALLSHEET_REGISTRY_HEAP", "384m")
        # Without WRITE_DELAY=0 a crash forgets the last half second. The id of a forgotten schema
        # is given to the next one, and messages already written would be read with that.
        file = site.home / "db" / "registry"
        database = f"jdbc:h2:file:{file};NON_KEYWORDS=VALUE;WRITE_DELAY=0"
        argv = [
            str(site.java.java),
            f"-Xmx{heap}",
            "-XX:+ExitOnOutOfMemoryError",
            f"-Dquarkus.http.host={HOST}",
            f"-Dquarkus.http.port={site.ports.registry}",
            # It would listen on port 9000 of every interface, and cannot be turned off.
            f"-Dquarkus.management.host={HOST}",
            f"-Dquarkus.management.port={site.ports.registry_management}",
            f"-Dapicurio.datasource.url={database}",
            "-Dapicurio.datasource.jdbc.initial-size=2",
            "-Dapicurio.datasource.jdbc.min-size=2",
            "-Dapicurio.datasource.jdbc.max-size=10",
            "-jar",
            str(site.parts["registry"] / "quarkus-run.jar"),
        ]
        return Launch(argv, java_environment(site.home), site.home)

    def probe(self, site: Site) -> str:
        """Its version, and that it can read its database."""
        http("GET", f"{self.address(site.ports)}/subjects")
        about = http("GET", f"http://{HOST}:{site.ports.registry}/apis/registry/v3/system/info")
        return str(about.get("version", ""))

    def settle(self, site: Site) -> None:
        """Have incompatible schemas refused from the first one on; changing that later is free."""
        done = site.home / "compatibility-set"
        if done.exists():
            return
        require_backward(self.address(site.ports))
        done.write_text(LEVEL, encoding="utf-8")
