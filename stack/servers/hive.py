"""HiveServer2 4.0 on local files: embedded metastore in Derby, Tez inside the same process."""

from __future__ import annotations

import shutil
import socket
import struct
from collections.abc import Mapping
from typing import ClassVar
from xml.sax.saxutils import escape

from callsheet.errors import UnavailableError
from stack.jdk import JavaRequirement
from stack.ports import HOST, Ports
from stack.process import Launch
from stack.server import Site, Traits, java_environment
from stack.store import version_in

_PROBE_TIMEOUT_S = 5.0
# Status bytes of Thrift's SASL framing.
_START, _OK, _COMPLETE = 1, 2, 5
_OPENED = (
    "java.base/java.lang", "java.base/java.lang.reflect", "java.base/java.util",
    "java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic",
    "java.base/java.util.regex", "java.base/java.io", "java.base/java.net", "java.base/java.nio",
    "java.base/java.text", "java.base/java.time", "java.base/java.math", "java.base/sun.nio.ch",
    "java.base/sun.nio.cs", "java.base/sun.security.action", "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect", "java.sql/java.sql", "java.desktop/java.beans",
    "java.security.jgss/sun.security.krb5",
)  # fmt: skip
# What a query's own log shows (cursor.fetch_logs) comes from these loggers: at WARN it is empty.
_QUERY_LOGGERS = (
    "SessionState", "org.apache.hadoop.hive.ql.Driver", "org.apache.hadoop.hive.ql.Compiler",
    "org.apache.hadoop.hive.ql.exec.Task", "org.apache.hadoop.hive.ql.exec.tez.TezTask",
    "org.apache.hadoop.hive.ql.exec.tez.monitoring", "org.apache.hadoop.hive.ql.parse",
    "org.apache.hadoop.hive.ql.Executor",
)  # fmt: skip


class Hive:
    """Started only when asked for."""

    traits: ClassVar = Traits(
        name="hive",
        title="HiveServer2",
        components=("hive",),
        # From 24 on Java has no Security Manager: "getSubject is not supported".
        java=JavaRequirement(at_least=17, at_most=23),
        start_s=180.0,
        grace_s=20.0,
    )

    def listeners(self, ports: Ports) -> Mapping[str, int]:
        """Thrift."""
        return {"hive": ports.hive}

    def address(self, ports: Ports) -> str:
        """Host and port."""
        return f"{HOST}:{ports.hive}"

    def prepare(self, site: Site) -> None:
        """Write the settings; make the metastore's tables once, again if that was interrupted."""
        conf, data = site.home / "conf", site.home / "data"
        conf.mkdir(exist_ok=True)
        document = xml(settings(site))
        for name in ("hive-site.xml", "metastore-site.xml"):
            (conf / name).write_text(document, encoding="utf-8")
        (conf / "hive-log4j2.properties").write_text(log4j(), encoding="utf-8")
        made = site.home / "metastore-made"
        if not made.exists():
            shutil.rmtree(data, ignore_errors=True)
            (data / "local").mkdir(parents=True)
            self._make_metastore(site)
            made.touch()

    def launch(self, site: Site) -> Launch:
        """HiveServer2."""
        logging = site.home / "conf" / "hive-log4j2.properties"
        argv = [
            str(site.java.java),
            f"-Xmx{site.settings.get('CALLSHEET_HIVE_HEAP', '1g')}",
            *(f"--add-opens={each}=ALL-UNNAMED" for each in _OPENED),
            "-Djava.net.preferIPv4Stack=true",
            f"-Dderby.stream.error.file={site.home / 'derby.log'}",
            f"-Dlog4j.configurationFile={logging}",
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            _class_path(site, "libs/*", "libs-last/*"),
            "org.apache.hive.service.server.HiveServer2",
        ]
        return Launch(argv, java_environment(site.home), site.home)

    def probe(self, site: Site) -> str:
        """Log in, as a Thrift client does."""
        try:
            _log_in(site.ports.hive)
        except (OSError, struct.error) as error:
            raise UnavailableError(f"HiveServer2 does not let us in yet: {error}.") from error
        return version_in(site.parts["hive"])

    def settle(self, site: Site) -> None:
        """Nothing."""

    def _make_metastore(self, site: Site) -> None:
        scripts = next(site.parts["hive"].glob("apache-hive-metastore-*-bin"))
        site.command(
            [str(site.java.java), "-Xmx512m",
             "-cp", _class_path(site, "libs/*", f"{scripts.name}/lib/*"),
             "org.apache.hadoop.hive.metastore.tools.schematool.MetastoreSchemaTool",
             "-dbType", "derby", "-initSchema"],
            cwd=site.home,
            env=java_environment(site.home) | {"METASTORE_HOME": str(scripts)},
        )  # fmt: skip


def _class_path(site: Site, *folders: str) -> str:
    root = site.parts["hive"]
    return ":".join([str(site.home / "conf"), *(str(root / folder) for folder in folders)])


def settings(site: Site) -> dict[str, str]:
    """One process on local files, quick with small queries."""
    data = site.home / "data"
    return {
        "javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={data}/metastore;create=true",
        "javax.jdo.option.ConnectionDriverName": "org.apache.derby.jdbc.EmbeddedDriver",
        "metastore.schema.verification": "true",
        "metastore.warehouse.dir": f"file://{data}/warehouse",
        "metastore.warehouse.external.dir": f"file://{data}/external",
        "metastore.event.db.notification.api.auth": "false",
        "fs.defaultFS": "file:///",
        "mapreduce.framework.name": "local",
        "hive.exec.scratchdir": f"file://{data}/scratch",
        "hive.exec.local.scratchdir": f"{data}/local",
        "hive.downloaded.resources.dir": f"{data}/local/resources_${{hive.session.id}}",
        "hive.querylog.location": f"{data}/local/queries",
        "hive.user.install.directory": f"file://{data}/install",
        "hive.server2.logging.operation.log.location": f"{data}/local/operations",
        "hive.server2.authentication": "NONE",
        "hive.server2.enable.doAs": "false",
        "hive.server2.thrift.bind.host": HOST,
        "hive.server2.thrift.port": str(site.ports.hive),
        "hive.server2.webui.port": "0",
        "hive.server2.tez.initialize.default.sessions": "false",
        "hive.server2.idle.session.timeout": "1h",
        "hive.server2.materializedviews.registry.impl": "DUMMY",
        "hive.execution.engine": "tez",
        "tez.local.mode": "true",
        "tez.local.mode.without.network": "true",
        "tez.runtime.optimize.local.fetch": "true",
        "tez.ignore.lib.uris": "true",
        "hive.tez.container.size": "512",
        "hive.tez.exec.inplace.progress": "false",
        "hive.exec.submit.local.task.via.child": "false",
        "hive.exec.submitviachild": "false",
        "hive.exec.dynamic.partition.mode": "nonstrict",
        "hive.security.authorization.enabled": "false",
        "hive.support.concurrency": "true",
        "hive.txn.manager": "org.apache.hadoop.hive.ql.lockmgr.DbTxnManager",
        "hive.compactor.initiator.on": "false",
        "hive.stats.autogather": "true",
        "hive.notification.event.poll.interval": "-1",
        "hive.fetch.task.conversion": "more",
        # The default intervals are made for a cluster; here they would be most of a query's time.
        "hive.tez.dag.status.check.interval": "20ms",
        "tez.dag.status.pollinterval-ms": "20",
        "tez.task.get-task.sleep.interval-ms.max": "10",
        "tez.task.am.heartbeat.interval-ms.max": "10",
        "tez.am.inline.task.execution.max-tasks": "2",
    }


def xml(values: Mapping[str, str]) -> str:
    """A Hadoop settings file."""
    lines = (
        f"<property><name>{name}</name><value>{escape(value)}</value></property>"
        for name, value in values.items()
    )
    return "<configuration>\n" + "\n".join(lines) + "\n</configuration>\n"


def log4j() -> str:
    """Warnings to standard error, and what a query's own log shows."""
    lines = [
        "status = WARN",
        "appender.c.type = Console",
        "appender.c.name = c",
        "appender.c.target = SYSTEM_ERR",
        "appender.c.layout.type = PatternLayout",
        "appender.c.layout.pattern = %d{ISO8601} %-5p %c{2}: %m%n",
        "rootLogger.level = WARN",
        "rootLogger.appenderRef.c.ref = c",
        "logger.dn.name = DataNucleus",
        "logger.dn.level = ERROR",
    ]
    for number, name in enumerate(_QUERY_LOGGERS):
        lines += [f"logger.q{number}.name = {name}", f"logger.q{number}.level = INFO"]
    return "\n".join(lines) + "\n"


def _log_in(port: int) -> None:
    """Thrift's SASL handshake with mechanism PLAIN: what every Hive client begins with."""
    with socket.create_connection((HOST, port), timeout=_PROBE_TIMEOUT_S) as connection:
        connection.sendall(_framed(_START, b"PLAIN") + _framed(_OK, b"\0callsheet\0callsheet"))
        status, size = struct.unpack(">bi", connection.recv(5, socket.MSG_WAITALL))
        if status != _COMPLETE:
            said = connection.recv(size).decode("utf-8", errors="replace")
            raise OSError(f"it refuses a login: {said}")


def _framed(status: int, payload: bytes) -> bytes:
    return struct.pack(">bi", status, len(payload)) + payload
