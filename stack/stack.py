"""A named set of real servers on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import psutil

from callsheet.errors import PreconditionError, UsageError
from stack import environment
from stack.advice import require_platform
from stack.jdk import Jdk
from stack.locks import exclusive
from stack.parallel import run_in_order
from stack.places import disk_errors_named, is_open_to_all, read_record, write_atomically
from stack.ports import Ports
from stack.process import ServerProcess
from stack.progress import Progress, Silence
from stack.runner import ServerRunner, ServerStatus
from stack.server import Server, Site
from stack.servers import DEFAULT_SERVERS, servers
from stack.setup import Machine, machine_of

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


class Stack:
    """Several may run side by side, each with its own folder, ports and passwords."""

    def __init__(self, name: str, machine: Machine) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is no name for a stack.", hint="Lower-case letters, digits, hyphens."
            )
        self.name = name
        self.home = machine.places.state / name
        self._machine = machine
        self._servers: Mapping[str, Server] = servers()

    @classmethod
    def named(cls, name: str = "", env: Mapping[str, str] | None = None) -> Stack:
        """The stack of that name, else of ``CALLSHEET_STACK``, else `dev`; it need not exist."""
        variables = os.environ if env is None else env
        return cls(name or variables.get("CALLSHEET_STACK") or "dev", machine_of(variables))

    @property
    def environment_file(self) -> Path:
        """The CALLSHEET_* variables as a file; readable by its owner only."""
        return self.home / "env"

    @property
    def is_made(self) -> bool:
        """Has it been up once, so that it has ports and passwords of its own?"""
        return self.environment_file.exists()

    @property
    def ports(self) -> Ports:
        """Its ports: those it was given, else the defaults.

        Raises:
            PreconditionError: the file that says so is damaged.
        """
        hint = (
            'Correct it, as {"kafka": 19092}, or remove it: the default ports then count. Those '
            f"that it had are in {self.environment_file}."
        )
        return read_record(self.home / "ports.json", Ports, hint) or Ports()

    def environment(self) -> dict[str, str]:
        """The CALLSHEET_* variables, passwords included; the stack must have been up once."""
        variables = environment.read(self.environment_file)
        if not variables:
            raise PreconditionError(
                f"There is no stack named {self.name}.",
                hint=f"Start one: callsheet stack up --stack {self.name}",
            )
        return variables

    def fetch(
        self, names: Sequence[str] = DEFAULT_SERVERS, progress: Progress | None = None
    ) -> None:
        """Get what the servers are made of; without anything missing, no network is touched."""
        require_platform()
        chosen = self._chosen(names)
        parts = dict.fromkeys(part for each in chosen for part in each.traits.components)
        self._machine.store.fetch(list(parts), progress or Silence())

    def up(
        self,
        names: Sequence[str] = DEFAULT_SERVERS,
        progress: Progress | None = None,
        *,
        ports: Ports | None = None,
        install: bool = False,
    ) -> None:
        """Make the servers run, and what they need; what already runs well is left alone.

        ``ports``: new ports, only while nothing runs. ``install``: as root, have apt install what
        is missing. Raises one error for the first server that did not start; the others go on.
        """
        progress = progress or Silence()
        chosen = self._chosen(names)
        self._require_java(chosen, install=install)
        if install and self._machine.account and shutil.which("mvn") is None:
            self._machine.advice.install(["maven"])
        self.fetch(names, progress)
        with disk_errors_named(self.home):
            self._make_home()
            with exclusive(self.home / "lock", lambda: progress.say(self._waiting)):
                self._set_ports(ports)
                environment.write(self.environment_file, self.ports)
                self._start(chosen, progress)

    def down(self, progress: Progress | None = None, *, purge: bool = False) -> None:
        """End every server of this stack, whoever started it; ``purge`` removes its data too."""
        progress = progress or Silence()
        if not self.home.exists():
            return
        with exclusive(self.home / "lock", lambda: progress.say(self._waiting)):
            # The reverse of the start: whoever needs a server ends before it.
            run_in_order(
                {name: self._needing(name) for name in self._servers},
                lambda name, _: self._runner(name).stop(progress),
            )
            if purge:
                shutil.rmtree(self.home)

    def status(self) -> list[ServerStatus]:
        """Of every server that starts by default or was started; each is asked."""
        shown = [
            name for name in self._servers
            if name in DEFAULT_SERVERS or self._process(name).record() is not None
        ]  # fmt: skip
        found: dict[str, ServerStatus] = {}
        run_in_order(
            dict.fromkeys(shown, ()),
            lambda name, _: found.update({name: self._runner(name).status()}),
        )
        return [found[name] for name in shown]

    def restart(self, server: str, progress: Progress | None = None) -> None:
        """Stop one server, and start it again.

        Raises:
            PreconditionError: the stack was never up, or what the server is made of is missing.
        """
        progress = progress or Silence()
        made_of = self._require_made(server)
        with (
            disk_errors_named(self.home),
            exclusive(self.home / "lock", lambda: progress.say(self._waiting)),
        ):
            self._require_java([made_of], install=False)
            runner = self._runner(server)
            runner.stop(progress)
            runner.ensure(progress, threading.Event())

    def kill(self, server: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a server and its children, behind its back; SIGKILL is waited for."""
        if number == signal.SIGKILL:
            self._process(server).kill()
        else:
            self._process(server).signal(number)

    def pause(self, server: str) -> None:
        """Freeze a server and its children: it keeps its connections and answers nothing."""
        self._process(server).pause()

    def resume(self, server: str) -> None:
        """Undo `pause`."""
        self._process(server).signal(signal.SIGCONT)

    def processes(self, server: str) -> list[psutil.Process]:
        """A server's process, then its children."""
        record = self._process(server).record()
        members = self._process(server).members()
        return sorted(members, key=lambda each: record is not None and each.pid != record.pid)

    def log(self, server: str) -> Path:
        """Where a server's output goes."""
        self._chosen([server])
        return self.home / "logs" / f"{server}.log"

    @property
    def _waiting(self) -> str:
        return f"Another callsheet works on the stack {self.name}; waiting for it."

    def _require_made(self, server: str) -> Server:
        """Has the stack been up, and is there what this server is made of?"""
        self._chosen([server])
        self.environment()
        made_of = self._servers[server]
        if self._machine.store.missing(list(made_of.traits.components)):
            raise PreconditionError(
                f"{made_of.traits.title} is not here, or not in this Callsheet's version.",
                hint=f"Fetch and start it: callsheet stack up {server} --stack {self.name}",
            )
        return made_of

    def _start(self, chosen: Sequence[Server], progress: Progress) -> None:
        names = {each.traits.name for each in chosen}
        run_in_order(
            {each.traits.name: [n for n in each.traits.after if n in names] for each in chosen},
            lambda name, cancelled: self._runner(name).ensure(progress, cancelled),
        )

    def _chosen(self, names: Sequence[str]) -> list[Server]:
        """The named servers and those that they need."""
        if unknown := [name for name in names if name not in self._servers]:
            raise UsageError(
                f"There is no server named {', '.join(unknown)}.",
                hint=f"The servers are {', '.join(self._servers)}.",
            )
        wanted = set(names)
        for each in self._servers.values():
            if each.traits.name in wanted:
                wanted |= set(each.traits.after)
        return [each for each in self._servers.values() if each.traits.name in wanted]

    def _needing(self, name: str) -> list[str]:
        return [each.traits.name for each in self._servers.values() if name in each.traits.after]

    def _set_ports(self, ports: Ports | None) -> None:
        if ports is None or ports == self.ports:
            return
        ports.require_distinct()
        if running := [name for name in self._servers if self._process(name).is_alive()]:
            raise UsageError(
                f"The ports of the stack {self.name} cannot change while {', '.join(running)} "
                "runs.",
                hint=f"First: callsheet stack down --stack {self.name}",
            )
        write_atomically(self.home / "ports.json", json.dumps(ports.as_dict()) + "\n")

    def _make_home(self) -> None:
        for name in ("logs", *self._servers):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        account = self._machine.account
        if account is None:
            return
        # As root: whoever a server runs as must be able to pass through to its own folder.
        for folder in (self._machine.places.state, self.home, self.home / "elasticsearch"):
            folder.chmod(0o755)
        for folder in (self.home, self._machine.places.cache):
            if not is_open_to_all(folder):
                raise PreconditionError(
                    "Elasticsearch refuses to run as root, and the user that it runs as instead "
                    f"cannot look into {folder}.",
                    hint="Set CALLSHEET_STATE_DIR and CALLSHEET_CACHE_DIR to folders that every "
                    "user can pass through, or run as another user than root.",
                )

    def _require_java(self, chosen: Sequence[Server], *, install: bool) -> None:
        """Before anything is fetched or started: is there a JDK for each server?"""
        # The newest first: it serves the others too, so nobody installs one after another.
        lacking = [each for each in chosen if each.traits.java and self._jdk(each) is None]
        for each in sorted(lacking, key=_oldest_java, reverse=True):
            if each.traits.java is None or self._jdk(each) is not None:
                continue
            package = self._machine.advice.jdk_package(each.traits.java)
            if not (install and package and self._machine.account):
                raise self._machine.advice.missing_java(each.traits.title, each.traits.java)
            self._machine.advice.install([package])

    def _jdk(self, server: Server) -> Jdk | None:
        if server.traits.java is None:
            return None
        any_user = server.traits.refuses_root and self._machine.account is not None
        return self._machine.jdks.choose(server.traits.java, any_user=any_user)

    def _process(self, name: str) -> ServerProcess:
        self._chosen([name])
        record = self.home / name / "process.json"
        return ServerProcess(record, str(self.home / name), self._machine.clock)

    def _runner(self, name: str) -> ServerRunner:
        server = self._servers[name]
        return ServerRunner(
            server,
            partial(self._site, server),
            self._process(name),
            self.log(name),
            self._machine.clock,
        )

    def _site(self, server: Server, *, with_java: bool = False) -> Site:
        store = self._machine.store
        return Site(
            stack=self.name,
            home=self.home / server.traits.name,
            parts={part: store.folder(part) for part in server.traits.components},
            ports=self.ports,
            jdk=self._jdk(server) if with_java else None,
            variables=environment.read(self.environment_file),
            settings=self._machine.env,
            account=self._machine.account,
            command=self._machine.command,
        )


def _oldest_java(server: Server) -> int:
    return server.traits.java.at_least if server.traits.java else 0
