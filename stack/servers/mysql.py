"""MySQL 9.7, set up as a source for change data capture."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from callsheet.errors import UnavailableError
from stack.ports import HOST, Ports
from stack.process import Launch
from stack.server import Site, Traits

_BINLOG_DAYS = 3


class Mysql:
    """Run by its own loader with its own libraries, so that the machine's matter not."""

    traits: ClassVar = Traits(
        name="mysql",
        title="MySQL",
        components=("mysql",),
    )

    def listeners(self, ports: Ports) -> Mapping[str, int]:
        """One port."""
        return {"mysql": ports.mysql}

    def address(self, ports: Ports) -> str:
        """Host and port."""
        return f"{HOST}:{ports.mysql}"

    def prepare(self, site: Site) -> None:
        """Make the data folder aside, so that an interruption leaves none, and the start script."""
        for name in ("tmp", "files"):
            (site.home / name).mkdir(mode=0o700, exist_ok=True)
        data = site.home / "data"
        if not data.exists():
            aside = site.home / "data.new"
            shutil.rmtree(aside, ignore_errors=True)
            site.command(
                [*_program(site), *_base(site, aside), "--initialize-insecure"], cwd=site.home
            )
            aside.rename(data)
        _write_init_file(site)

    def launch(self, site: Site) -> Launch:
        """The server, on loopback."""
        argv = [
            *_program(site),
            *_base(site, site.home / "data"),
            *server_options(site),
            f"--port={site.ports.mysql}",
        ]
        return Launch(argv, {"PATH": "/usr/bin:/bin", "TZ": "UTC"}, site.home)

    def probe(self, site: Site) -> str:
        """Log in and ask for the version."""
        import pymysql  # late: every command of the CLI imports this package, few ask MySQL

        try:
            connection = pymysql.connect(
                host=HOST,
                port=site.ports.mysql,
                user="root",
                password=site.variables["CALLSHEET_MYSQL_ADMIN_PASSWORD"],
                connect_timeout=3,
                read_timeout=3,
                write_timeout=3,
            )
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT VERSION()")
                (version,) = cursor.fetchone() or ("",)
        except (pymysql.MySQLError, OSError) as error:
            raise UnavailableError(f"MySQL does not let us in yet: {error}.") from error
        return str(version).partition("-")[0]

    def settle(self, site: Site) -> None:
        """Nothing: the init file has run before the first connection."""


def _program(site: Site) -> list[str]:
    root = site.parts["mysql"]
    libraries = root / "usr/lib/x86_64-linux-gnu"
    path = f"{libraries}:{root / 'usr/lib/mysql/private'}"
    loader = libraries / "ld-linux-x86-64.so.2"
    return [str(loader), "--library-path", path, str(root / "usr/sbin/mysqld")]


def _base(site: Site, data: Path) -> list[str]:
    root = site.parts["mysql"]
    user = ["--user=root"] if site.account else []
    return [
        "--no-defaults",
        *user,
        f"--basedir={root / 'usr'}",
        f"--datadir={data}",
        f"--lc-messages-dir={root / 'usr/share/mysql'}",
        f"--character-sets-dir={root / 'usr/share/mysql/charsets'}",
        f"--plugin-dir={root / 'usr/lib/mysql/plugin'}",
        f"--tmpdir={site.home / 'tmp'}",
        f"--secure-file-priv={site.home / 'files'}",
    ]


def server_options(site: Site) -> list[str]:
    """How it listens, and what change data capture rests on."""
    return [
        f"--bind-address={HOST}",
        "--socket=mysqld.sock",  # in the data folder: a socket's absolute path may be too long
        "--mysqlx=OFF",
        f"--pid-file={site.home / 'mysqld.pid'}",
        f"--init-file={site.home / 'init.sql'}",
        "--default-time-zone=+00:00",
        "--character-set-server=utf8mb4",
        "--max-connections=200",
        f"--innodb-buffer-pool-size={site.settings.get('CALLSHEET_MYSQL_BUFFER_POOL', '256M')}",
        # What change data capture rests on:
        "--server-id=4242",
        "--log-bin=binlog",
        "--binlog-format=ROW",
        "--binlog-row-image=FULL",
        "--binlog-row-metadata=FULL",
        # Compressed transactions would give all their rows one position in the log.
        "--binlog-transaction-compression=OFF",
        f"--binlog-expire-logs-seconds={_BINLOG_DAYS * 86_400}",
        "--gtid-mode=ON",
        "--enforce-gtid-consistency=ON",
    ]


def _write_init_file(site: Site) -> None:
    """Runs at every start before anyone can connect, so root never is without its password."""
    password = site.variables["CALLSHEET_MYSQL_ADMIN_PASSWORD"]
    path = site.home / "init.sql"
    path.touch(mode=0o600)
    path.write_text(
        # One statement a line, as MySQL demands. Not logged: it is no change that anyone captures.
        f"SET SESSION sql_log_bin=0;\nALTER USER root@localhost IDENTIFIED BY '{password}';\n",
        encoding="utf-8",
    )
