"""Whether this machine can run the native stack, and what to do where it cannot."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping

import psutil

from callsheet.doctor import Finding, Level
from stack.places import free_bytes, is_open_to_all
from stack.servers import DEFAULT_SERVERS, servers
from stack.setup import Machine, machine_of

_AREA = "machine"
_CONTAINERS = "use the containers, which hold the same servers: docker compose up"
_GIB = 1 << 30
_MEMORY_BYTES = 5 * _GIB  # measured: all servers under load
_MEMORY_TIGHT_BYTES = 8 * _GIB
_FETCH_BYTES = 4 * _GIB  # downloads and what is unpacked from them, at the worst moment
_DATA_BYTES = 2 * _GIB  # below this Elasticsearch stops placing shards


def machine_findings(env: Mapping[str, str] | None = None) -> list[Finding]:
    """One finding per thing that the native servers need of the machine."""
    machine = machine_of(os.environ if env is None else env)
    needed = dict.fromkeys(
        part for name in DEFAULT_SERVERS for part in servers()[name].traits.components
    )
    missing = machine.store.missing(list(needed))
    return [
        _platform(),
        _processors(os.cpu_count() or 1),
        _memory(psutil.virtual_memory().total),
        _disk(machine, missing),
        *_javas(machine),
        _program("mvn", "the servers' jars", missing, "apt-get install maven"),
        _program("apt-get", "MySQL", [each for each in missing if each == "mysql"], _CONTAINERS),
        _downloads(machine, missing),
        *_folders(machine),
    ]


def _platform() -> Finding:
    system, machine = platform.system(), platform.machine()
    if (system, machine) == ("Linux", "x86_64"):
        return Finding(_AREA, "platform", "ok", f"{system} {machine}")
    return Finding(
        _AREA,
        "platform",
        "fail",
        f"the native servers are for Linux x86_64, and this is {system} {machine}",
        hint=_CONTAINERS,
    )


def _processors(count: int) -> Finding:
    if count >= 2:
        return Finding(_AREA, "processors", "ok", f"{count} processors")
    return Finding(_AREA, "processors", "warn", "one processor: starting takes minutes, not one")


def _memory(total: int) -> Finding:
    text = f"{total / _GIB:.1f} GiB of memory; all servers under load take about 5"
    if total >= _MEMORY_TIGHT_BYTES:
        return Finding(_AREA, "memory", "ok", text)
    level: Level = "warn" if total >= _MEMORY_BYTES else "fail"
    return Finding(
        _AREA, "memory", level, text, hint="CALLSHEET_ES_HEAP=512m makes Elasticsearch smaller"
    )


def _disk(machine: Machine, missing: list[str]) -> Finding:
    places = [(machine.places.cache, _FETCH_BYTES if missing else 0)]
    places.append((machine.places.state, _DATA_BYTES))
    for folder, needed in places:
        free = free_bytes(folder)
        if free < needed:
            return Finding(
                _AREA,
                "disk",
                "fail",
                f"{free / _GIB:.1f} GiB free for {folder}, and {needed / _GIB:.0f} are needed",
                hint="make room, or set CALLSHEET_CACHE_DIR or CALLSHEET_STATE_DIR to another disk",
            )
    free = free_bytes(machine.places.state)
    return Finding(_AREA, "disk", "ok", f"{free / _GIB:.0f} GiB free for {machine.places.state}")


def _javas(machine: Machine) -> Iterator[Finding]:
    """One finding per server that runs on Java; HiveServer2 is optional, so only a warning."""
    for server in servers().values():
        traits = server.traits
        if traits.java is None:
            continue
        any_user = traits.refuses_root and machine.account is not None
        if jdk := machine.jdks.choose(traits.java, any_user=any_user):
            text = f"{traits.title} runs on Java {jdk.text} in {jdk.home}"
            yield Finding(_AREA, f"java for {traits.name}", "ok", text)
            continue
        error = machine.advice.missing_java(traits.title, traits.java)
        yield Finding(
            _AREA,
            f"java for {traits.name}",
            "fail" if traits.name in DEFAULT_SERVERS else "warn",
            error.message,
            hint=error.hint,
        )


def _program(name: str, what: str, missing: list[str], hint: str) -> Finding:
    if path := shutil.which(name):
        return Finding(_AREA, name, "ok", path)
    if not missing:
        return Finding(_AREA, name, "ok", f"not installed, and not needed: {what} is fetched")
    return Finding(
        _AREA,
        name,
        "fail",
        f"not installed, and {what} would come through it",
        hint=hint,
    )


def _downloads(machine: Machine, missing: list[str]) -> Finding:
    if not missing:
        return Finding(_AREA, "downloads", "ok", f"complete in {machine.places.cache}")
    size = sum(machine.store.components[name].download_bytes for name in missing)
    return Finding(
        _AREA,
        "downloads",
        "warn",
        f"{', '.join(missing)}: {size >> 20} MiB to fetch yet",
        hint="callsheet stack fetch (or up) does so, once",
    )


def _folders(machine: Machine) -> Iterator[Finding]:
    """As root, Elasticsearch runs as another user, who must be able to reach its folders."""
    if machine.account is None:
        return
    for folder in (machine.places.cache, machine.places.state):
        if folder.exists() and not is_open_to_all(folder):
            yield Finding(
                _AREA,
                "folders",
                "fail",
                f"Elasticsearch refuses root, and the user it runs as cannot look into {folder}",
                hint="set CALLSHEET_CACHE_DIR and CALLSHEET_STATE_DIR to folders open to all",
            )
