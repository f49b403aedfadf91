"""HDFS with one NameNode and one DataNode, out of the jars that Hive brings."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any, ClassVar

from callsheet.errors import UnavailableError
from stack.jdk import JavaRequirement
from stack.ports import HOST, Ports
from stack.process import Launch
from stack.server import Site, Traits, http, java_environment
from stack.servers.hive import log4j, xml

_JAVA = JavaRequirement(at_least=17, at_most=23)
_START_S = 120.0
# The jar lacks these folders, and the web server that serves WebHDFS does not start without them.
_WEBAPPS = ("hdfs", "datanode")


class NameNode:
    """Knows the files. Started only when asked for; `hdfs` asks for it."""

    traits: ClassVar = Traits(
        name="namenode",
        title="the HDFS NameNode",
        components=("hive",),
        java=_JAVA,
        start_s=_START_S,
    )

    def listeners(self, ports: Ports) -> Mapping[str, int]:
        """Hadoop's own protocol, and WebHDFS."""
        return {"namenode": ports.namenode, "webhdfs": ports.webhdfs}

    def address(self, ports: Ports) -> str:
        """What Hive calls it by."""
        return f"hdfs://{HOST}:{ports.namenode}"

    def prepare(self, site: Site) -> None:
        """Write the settings; format the image once, again if that was interrupted."""
        _configure(site)
        formatted = site.home / "formatted"
        if not formatted.exists():
            shutil.rmtree(site.home / "data", ignore_errors=True)
            site.command(
                [*_java(site), _class("namenode.NameNode"), "-format", "-nonInteractive"],
                cwd=site.home,
                env=java_environment(site.home),
            )
            formatted.touch()

    def launch(self, site: Site) -> Launch:
        """The server."""
        argv = [*_java(site), _class("namenode.NameNode")]
        return Launch(argv, java_environment(site.home), site.home)

    def probe(self, site: Site) -> str:
        """Ask which version it is; it answers once it serves files."""
        return str(_bean(site.ports, "NameNodeInfo")["SoftwareVersion"])

    def settle(self, site: Site) -> None:
        """Nothing."""


class Hdfs:
    """The DataNode, which keeps the files' content: with it, HDFS can be used."""

    traits: ClassVar = Traits(
        name="hdfs",
        title="the HDFS DataNode",
        components=("hive",),
        after=("namenode",),
        java=_JAVA,
        start_s=_START_S,
    )

    def listeners(self, ports: Ports) -> Mapping[str, int]:
        """Blocks, WebHDFS, and its own control."""
        return {
            "datanode": ports.datanode,
            "datanode_http": ports.datanode_http,
            "datanode_ipc": ports.datanode_ipc,
        }

    def address(self, ports: Ports) -> str:
        """WebHDFS: where clients begin."""
        return f"http://{HOST}:{ports.webhdfs}"

    def prepare(self, site: Site) -> None:
        """Write the settings."""
        _configure(site)

    def launch(self, site: Site) -> Launch:
        """The server."""
        argv = [*_java(site), _class("datanode.DataNode")]
        return Launch(argv, java_environment(site.home), site.home)

    def probe(self, site: Site) -> str:
        """It answers, the NameNode counts on it, and files may be written."""
        address = f"http://{HOST}:{site.ports.datanode_http}"
        http("GET", f"{address}/jmx?qry=Hadoop:service=DataNode,name=DataNodeInfo")
        state = _bean(site.ports, "FSNamesystemState")
        if state["NumLiveDataNodes"] < 1 or state["FSState"] != "Operational":
            raise UnavailableError("The NameNode has not taken its DataNode up yet.")
        return str(_bean(site.ports, "NameNodeInfo")["SoftwareVersion"])

    def settle(self, site: Site) -> None:
        """Nothing."""


def _class(name: str) -> str:
    return f"org.apache.hadoop.hdfs.server.{name}"


def _bean(ports: Ports, name: str) -> Mapping[str, Any]:
    query = f"Hadoop:service=NameNode,name={name}"
    beans = http("GET", f"http://{HOST}:{ports.webhdfs}/jmx?qry={query}")["beans"]
    if not beans:
        raise UnavailableError("The NameNode is not up yet.")
    found: Mapping[str, Any] = beans[0]
    return found


def _java(site: Site) -> list[str]:
    conf, hive = site.home / "conf", site.parts["hive"]
    return [
        str(site.java.java),
        f"-Xmx{site.settings.get('CALLSHEET_HDFS_HEAP', '256m')}",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
        "-Djava.net.preferIPv4Stack=true",
        f"-Dlog4j2.configurationFile={conf / 'log4j2.properties'}",
        "-cp",
        f"{conf}:{hive / 'libs' / '*'}:{hive / 'libs-last' / '*'}",
    ]


def _configure(site: Site) -> None:
    conf = site.home / "conf"
    for name in _WEBAPPS:
        folder = conf / "webapps" / name / "WEB-INF"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "web.xml").write_text("<web-app/>\n", encoding="utf-8")
    (conf / "webapps" / "static").mkdir(exist_ok=True)
    (conf / "core-site.xml").write_text(xml(core(site)), encoding="utf-8")
    (conf / "hdfs-site.xml").write_text(xml(settings(site)), encoding="utf-8")
    (conf / "log4j2.properties").write_text(log4j(), encoding="utf-8")


def core(site: Site) -> dict[str, str]:
    """What every Hadoop process reads first."""
    return {
        "fs.defaultFS": f"hdfs://{HOST}:{site.ports.namenode}",
        "hadoop.tmp.dir": str(site.home / "tmp"),
    }


def settings(site: Site) -> dict[str, str]:
    """One copy of each block, on disk when a file is closed; a lost DataNode is noticed soon."""
    ports, data = site.ports, site.home / "data"
    return {
        "dfs.namenode.name.dir": f"file://{data}/name",
        "dfs.datanode.data.dir": f"file://{data}/blocks",
        "dfs.namenode.http-address": f"{HOST}:{ports.webhdfs}",
        "dfs.datanode.address": f"{HOST}:{ports.datanode}",
        "dfs.datanode.http.address": f"{HOST}:{ports.datanode_http}",
        "dfs.datanode.ipc.address": f"{HOST}:{ports.datanode_ipc}",
        "dfs.datanode.hostname": HOST,
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        "dfs.replication": "1",
        "dfs.permissions.enabled": "false",
        "dfs.datanode.synconclose": "true",
        "dfs.heartbeat.interval": "1",
        "dfs.namenode.heartbeat.recheck-interval": "1000",
        "dfs.namenode.safemode.extension": "0",
    }
