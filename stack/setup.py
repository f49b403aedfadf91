"""Putting together what a stack works with, on the real machine."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.advice import Advice
from stack.artifacts import locked
from stack.clock import Clock, SystemClock
from stack.command import Command, SystemCommand
from stack.components import Tools, components
from stack.debian import Debian, Mirror
from stack.jdk import JdkSearch
from stack.maven import Maven
from stack.places import Places
from stack.server import Account
from stack.store import Store
from stack.wheels import Wheels

_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Machine:
    """All that a stack takes from its surroundings. ``account`` is set only where we are root."""

    env: Mapping[str, str]
    places: Places
    store: Store
    jdks: JdkSearch
    advice: Advice
    command: Command
    clock: Clock
    account: Account | None


def machine_of(env: Mapping[str, str]) -> Machine:
    """The machine we run on, as the environment describes it."""
    account = _unprivileged() if os.geteuid() == 0 else None
    places = Places.of(env, is_root=account is not None)
    command = SystemCommand()
    downloads = places.cache / "downloads"
    home = Path(env.get("HOME") or "/nonexistent")
    tools = Tools(
        maven=Maven(command, downloads / "maven", home / ".m2" / "repository"),
        wheels=Wheels(command, downloads / "wheels"),
        debian=Debian(
            command, downloads / "debian", lambda: Mirror.of_machine(Path("/etc/apt"), env)
        ),
    )
    return Machine(
        env=env,
        places=places,
        store=Store(places.cache, components(locked()), tools),
        jdks=JdkSearch(env, command),
        advice=Advice(command),
        command=command,
        clock=SystemClock(),
        account=account,
    )


def _unprivileged() -> Account:
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Account(_NOBODY, _NOBODY)
    return Account(nobody.pw_uid, nobody.pw_gid)
