"""A Kafka broker that is its own controller."""

from __future__ import annotations

import base64
import shutil
import socket
import struct
import uuid
from collections.abc import Mapping
from typing import ClassVar

from callsheet.errors import UnavailableError
from stack.jdk import JavaRequirement
from stack.ports import HOST, Ports
from stack.process import Launch
from stack.server import Site, Traits, java_environment
from stack.store import version_in

LOG4J = """<Configuration>
 <Appenders><Console name="out">
  <PatternLayout pattern="%d %p [%t] %c{1} - %m%n"/>
 </Console></Appenders>
 <Loggers><Root level="info"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""
_PROBE_TIMEOUT_S = 3.0
_API_VERSIONS = 18


class Kafka:
    """KRaft, one node, every internal topic with one replica."""

    traits: ClassVar = Traits(
        name="kafka",
        title="Kafka",
        components=("kafka",),
        java=JavaRequirement(at_least=17),
    )

    def listeners(self, ports: Ports) -> Mapping[str, int]:
        """For clients, and for its own controller."""
        return {"kafka": ports.kafka, "kafka_controller": ports.kafka_controller}

    def address(self, ports: Ports) -> str:
        """The bootstrap address."""
        return f"{HOST}:{ports.kafka}"

    def prepare(self, site: Site) -> None:
        """Write the settings; format the log folder once, again if that was interrupted."""
        (site.home / "log4j2.xml").write_text(LOG4J, encoding="utf-8")
        settings = site.home / "server.properties"
        settings.write_text(properties(site), encoding="utf-8")
        formatted = site.home / "formatted"
        if not formatted.exists():
            shutil.rmtree(site.home / "data", ignore_errors=True)
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            site.command(
                [*java_command(site, "128m"), "kafka.tools.StorageTool", "format",
                 "-t", cluster, "-c", str(settings)],
                cwd=site.home, env=java_environment(site.home),
            )  # fmt: skip
            formatted.write_text(cluster, encoding="utf-8")

    def launch(self, site: Site) -> Launch:
        """The broker."""
        heap = site.settings.get("CALLSHEET_KAFKA_HEAP", "512m")
        argv = [*java_command(site, heap), "kafka.Kafka", str(site.home / "server.properties")]
        return Launch(argv, java_environment(site.home), site.home)

    def probe(self, site: Site) -> str:
        """Ask which requests it understands; it answers once it accepts clients."""
        try:
            _ask_api_versions(site.ports.kafka)
        except (OSError, struct.error) as error:
            raise UnavailableError(f"Kafka does not answer yet: {error}.") from error
        return version_in(site.parts["kafka"])

    def settle(self, site: Site) -> None:
        """Nothing."""


def java_command(site: Site, heap: str) -> list[str]:
    """Java with Kafka's class path, logging to its standard output."""
    log4j = site.home / "log4j2.xml"
    return [
        str(site.java.java),
        f"-Xmx{heap}",
        "-XX:+UseG1GC",
        "-XX:+ExitOnOutOfMemoryError",
        f"-Dlog4j2.configurationFile={log4j}",
        "-cp",
        str(site.parts["kafka"] / "libs" / "*"),
    ]


def properties(site: Site) -> str:
    """The broker's settings."""
    ports = site.ports
    return f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{HOST}:{ports.kafka_controller}
listeners=PLAINTEXT://{HOST}:{ports.kafka},CONTROLLER://{HOST}:{ports.kafka_controller}
advertised.listeners=PLAINTEXT://{HOST}:{ports.kafka}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={site.home / "data"}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
log.segment.bytes=67108864
log.cleaner.dedupe.buffer.size=16777216
"""


def _ask_api_versions(port: int) -> None:
    """Kafka's ApiVersions request, version 0: header of api key, version, correlation, client."""
    client = b"callsheet"
    body = struct.pack(f">hhih{len(client)}s", _API_VERSIONS, 0, 1, len(client), client)
    with socket.create_connection((HOST, port), timeout=_PROBE_TIMEOUT_S) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        answer = connection.recv(10, socket.MSG_WAITALL)
    _, correlation, error = struct.unpack(">iih", answer)
    if (correlation, error) != (1, 0):
        raise OSError(f"it answered with error {error}")
