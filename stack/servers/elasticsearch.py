"""Elasticsearch 9.4, one node."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from callsheet.errors import UnavailableError
from stack.jdk import JavaRequirement
from stack.ports import HOST, Ports
from stack.process import Launch
from stack.server import Account, Site, Traits, http, java_environment

_MODULES = frozenset({"jdk.incubator.vector", "jdk.jlink"})


class Elasticsearch:
    """Started by its own launcher, which starts the server proper as its child."""

    traits: ClassVar = Traits(
        name="elasticsearch",
        title="Elasticsearch",
        components=("elasticsearch",),
        java=JavaRequirement(at_least=21, modules=_MODULES),
        refuses_root=True,
        start_s=180.0,
    )

    def listeners(self, ports: Ports) -> Mapping[str, int]:
        """The REST API, and the transport that a single node still opens."""
        return {
            "elasticsearch": ports.elasticsearch,
            "elasticsearch_transport": ports.elasticsearch_transport,
        }

    def address(self, ports: Ports) -> str:
        """The REST API's address."""
        return f"http://{HOST}:{ports.elasticsearch}"

    def prepare(self, site: Site) -> None:
        """Write the settings, and give the folder to the account that it runs as."""
        for name in ("data", "logs", "tmp", "config/jvm.options.d"):
            (site.home / name).mkdir(parents=True, exist_ok=True)
        source, config = site.parts["elasticsearch"] / "config", site.home / "config"
        shutil.copy(source / "log4j2.properties", config)
        options = (source / "jvm.options").read_text("utf-8")
        (config / "jvm.options").write_text(_with_logs_in(options, site.home / "logs"), "utf-8")
        heap = site.settings.get("CALLSHEET_ES_HEAP", "1g")
        (config / "jvm.options.d" / "heap.options").write_text(f"-Xms{heap}\n-Xmx{heap}\n", "utf-8")
        (config / "elasticsearch.yml").write_text(_settings(site), "utf-8")
        if site.account:
            _give(site.home, site.account)

    def launch(self, site: Site) -> Launch:
        """The distribution's own start script."""
        environment = java_environment(site.home) | {
            "ES_JAVA_HOME": str(site.java.home),
            "ES_PATH_CONF": str(site.home / "config"),
            "ES_TMPDIR": str(site.home / "tmp"),
            "HOSTNAME": "localhost",
        }
        argv = [str(site.parts["elasticsearch"] / "bin" / "elasticsearch")]
        user, group = (site.account.uid, site.account.gid) if site.account else (None, None)
        return Launch(argv, environment, site.home, user, group)

    def probe(self, site: Site) -> str:
        """Its version, and that it has a master: before, it takes no writes."""
        root = self.address(site.ports)
        http("GET", f"{root}/_cluster/health?local=false&timeout=2s&master_timeout=2s")
        version = http("GET", f"{root}/").get("version", {}).get("number")
        if not version:
            raise UnavailableError(f"{root} answers, but is no Elasticsearch.")
        return str(version)

    def settle(self, site: Site) -> None:
        """Nothing."""


def _settings(site: Site) -> str:
    # Free space is watched in bytes: the default, a share of the disk, makes indexes read-only on
    # any developer's disk that is nearly full, however large.
    return f"""cluster.name: callsheet-{site.stack}
node.name: node-1
network.host: {HOST}
http.port: {site.ports.elasticsearch}
transport.port: {site.ports.elasticsearch_transport}
discovery.type: single-node
path.data: {site.home / "data"}
path.logs: {site.home / "logs"}
xpack.security.enabled: false
xpack.security.autoconfiguration.enabled: false
cluster.routing.allocation.disk.watermark.low: 2gb
cluster.routing.allocation.disk.watermark.high: 1gb
cluster.routing.allocation.disk.watermark.flood_stage: 500mb
"""


def _with_logs_in(options: str, logs: Path) -> str:
    """The shipped JVM options write into the program's folder, which is not ours to write."""
    options = re.sub(r"(?m)^(-|\d+(?:-\d*)?:-)Xlog:gc.*$", "", options)
    return options.replace("hs_err_pid%p.log", str(logs / "hs_err_pid%p.log"))


def _give(folder: Path, account: Account) -> None:
    for top, _, files in os.walk(folder):
        os.chown(top, account.uid, account.gid)
        for name in files:
            os.chown(Path(top, name), account.uid, account.gid)
