"""What the stack knows of a server, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from callsheet.absence import absence
from callsheet.errors import UnavailableError
from stack.command import Command
from stack.jdk import JavaRequirement, Jdk
from stack.ports import Ports
from stack.process import Launch

_HTTP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Account:
    """The user to run as where a server refuses root."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Site:
    """One server of one stack: everything it may use.

    ``home``: its own folder. ``parts``: its components' folders, by name. ``account``: who to be
    instead of root; None where we are not root. ``settings``: CALLSHEET_* of the caller's
    environment, for heap sizes. ``variables``: the stack's own environment, passwords included.
    """

    stack: str
    home: Path
    parts: Mapping[str, Path]
    ports: Ports
    jdk: Jdk | None
    variables: Mapping[str, str]
    settings: Mapping[str, str]
    account: Account | None
    command: Command

    @property
    def java(self) -> Jdk:
        """The JDK of a server that declared to need one."""
        if self.jdk is None:
            raise AssertionError("a server without a Java requirement asked for Java")
        return self.jdk


@dataclass(frozen=True, slots=True)
class Traits:
    """What is always true of a server.

    ``after``: servers that must work before it starts. ``start_s``: how long its start may take on
    a slow machine. ``grace_s``: how long its end may take; then comes SIGKILL.
    """

    name: str
    title: str
    components: tuple[str, ...]
    after: tuple[str, ...] = ()
    java: JavaRequirement | None = None
    refuses_root: bool = False
    start_s: float = 90.0
    grace_s: float = 30.0


class Server(Protocol):
    """A server: what it takes, how it is started, and how one knows that it works."""

    traits: ClassVar[Traits]

    def listeners(self, ports: Ports) -> Mapping[str, int]:
        """Its ports, by their name in `Ports`."""

    def address(self, ports: Ports) -> str:
        """Where a client finds it."""

    def prepare(self, site: Site) -> None:
        """Write its settings and, the first time, make its data; complete or not at all."""

    def launch(self, site: Site) -> Launch:
        """How to start it."""

    def probe(self, site: Site) -> str:
        """Ask it through its API. Returns its version; UnavailableError while it is not ready."""

    def settle(self, site: Site) -> None:
        """What has to be done once it answers, before anyone uses it."""


class SiteMaker(Protocol):
    """Makes a server's site; finding its Java is left out where it will not be started."""

    def __call__(self, *, with_java: bool = False) -> Site:
        """The site now: ports and passwords as they are on disk."""


def http(method: str, url: str, *, body: object = None) -> Any:
    """Call a server of ours. Returns its JSON; UnavailableError unless it answers with success."""
    import httpx  # late: every command of the CLI imports this package, few call a server

    # trust_env off: a proxy of the environment must not see what goes to loopback.
    try:
        with httpx.Client(trust_env=False, timeout=_HTTP_TIMEOUT_S) as client:
            return client.request(method, url, json=body).raise_for_status().json()
    except httpx.HTTPStatusError as error:
        raise UnavailableError(f"{url} answers {error.response.status_code}.") from error
    except httpx.HTTPError as error:
        raise UnavailableError(f"{url} does not answer: {absence(error)}.") from error
    except ValueError as error:
        raise UnavailableError(f"{url} answers with something else than JSON.") from error


def java_environment(home: Path) -> dict[str, str]:
    """A clean environment for a Java server: nothing of the caller's shell slips in."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "TZ": "UTC"}
