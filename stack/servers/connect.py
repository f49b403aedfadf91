"""Kafka Connect, distributed, with Debezium's MySQL connector and Confluent's Avro converter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from callsheet.errors import UnavailableError
from stack.environment import without_admin
from stack.jdk import JavaRequirement
from stack.ports import HOST, Ports
from stack.process import Launch
from stack.server import Site, Traits, http, java_environment
from stack.servers.kafka import LOG4J, java_command

PLUGINS = ("debezium", "avro-converter")


class Connect:
    """One worker."""

    traits: ClassVar = Traits(
        name="connect",
        title="Kafka Connect",
        components=("kafka", *PLUGINS),
        after=("kafka",),
        java=JavaRequirement(at_least=17),
        grace_s=15.0,  # its shutdown can hang for minutes; what it had not stored, it repeats
        start_s=120.0,
    )

    def listeners(self, ports: Ports) -> Mapping[str, int]:
        """Its REST API."""
        return {"connect": ports.connect}

    def address(self, ports: Ports) -> str:
        """The REST API's address."""
        return f"http://{HOST}:{ports.connect}"

    def prepare(self, site: Site) -> None:
        """Write the settings."""
        (site.home / "log4j2.xml").write_text(LOG4J, encoding="utf-8")
        (site.home / "connect.properties").write_text(properties(site), encoding="utf-8")

    def launch(self, site: Site) -> Launch:
        """The worker; connectors may refer to the stack's variables as ``${env:CALLSHEET_...}``."""
        heap = site.settings.get("CALLSHEET_CONNECT_HEAP", "512m")
        argv = [
            *java_command(site, heap),
            "org.apache.kafka.connect.cli.ConnectDistributed",
            str(site.home / "connect.properties"),
        ]
        environment = java_environment(site.home) | without_admin(site.variables)
        return Launch(argv, environment, site.home)

    def probe(self, site: Site) -> str:
        """Its version, and that it has joined its group: before, it cannot list connectors."""
        root = self.address(site.ports)
        version = http("GET", f"{root}/").get("version")
        http("GET", f"{root}/connectors")
        if not version:
            raise UnavailableError(f"{root} answers, but is no Kafka Connect.")
        return str(version)

    def settle(self, site: Site) -> None:
        """Nothing."""


def properties(site: Site) -> str:
    """The worker's settings."""
    plugins = ",".join(str(site.parts[name]) for name in PLUGINS)
    json = "org.apache.kafka.connect.json.JsonConverter"
    providers = "org.apache.kafka.common.config.provider"
    return f"""bootstrap.servers={HOST}:{site.ports.kafka}
group.id=callsheet-connect
listeners=http://{HOST}:{site.ports.connect}
plugin.path={plugins}
plugin.discovery=service_load
key.converter={json}
value.converter={json}
key.converter.schemas.enable=false
value.converter.schemas.enable=false
config.storage.topic=callsheet-connect-configs
config.storage.replication.factor=1
offset.storage.topic=callsheet-connect-offsets
offset.storage.replication.factor=1
offset.storage.partitions=1
status.storage.topic=callsheet-connect-status
status.storage.replication.factor=1
status.storage.partitions=1
offset.flush.interval.ms=5000
exactly.once.source.support=enabled
connector.client.config.override.policy=All
scheduled.rebalance.max.delay.ms=0
config.providers=env,file,directory
config.providers.env.class={providers}.EnvVarConfigProvider
config.providers.env.param.allowlist.pattern=CALLSHEET_.*
config.providers.file.class={providers}.FileConfigProvider
config.providers.directory.class={providers}.DirectoryConfigProvider
"""
