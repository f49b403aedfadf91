"""The CALLSHEET_* variables of a stack: where its servers are, and the passwords."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from stack.places import write_atomically
from stack.ports import HOST, Ports

_PASSWORDS = (
    "CALLSHEET_MYSQL_ADMIN_PASSWORD",
    "CALLSHEET_APP_PASSWORD",
    "CALLSHEET_CAPTURE_PASSWORD",
    "CALLSHEET_READER_PASSWORD",
)


def addresses(ports: Ports) -> dict[str, str]:
    """Everything that is no secret."""
    return {
        "CALLSHEET_MYSQL_HOST": HOST,
        "CALLSHEET_MYSQL_PORT": str(ports.mysql),
        "CALLSHEET_MYSQL_DATABASE": "finance",
        "CALLSHEET_MYSQL_ADMIN_USER": "root",
        "CALLSHEET_KAFKA_BOOTSTRAP": f"{HOST}:{ports.kafka}",
        "CALLSHEET_REGISTRY_URL": f"http://{HOST}:{ports.registry}/apis/ccompat/v7",
        "CALLSHEET_CONNECT_URL": f"http://{HOST}:{ports.connect}",
        "CALLSHEET_ELASTICSEARCH_URL": f"http://{HOST}:{ports.elasticsearch}",
        "CALLSHEET_HIVE_HOST": HOST,
        "CALLSHEET_HIVE_PORT": str(ports.hive),
        "CALLSHEET_HDFS_URL": f"hdfs://{HOST}:{ports.namenode}",
        "CALLSHEET_WEBHDFS_URL": f"http://{HOST}:{ports.webhdfs}",
    }


def read(path: Path) -> dict[str, str]:
    """The variables in an `env` file; empty when there is none."""
    if not path.exists():
        return {}
    lines = (line.partition("=") for line in path.read_text("utf-8").splitlines())
    return {name: value for name, equals, value in lines if equals and not name.startswith("#")}


def write(path: Path, ports: Ports) -> dict[str, str]:
    """Write the `env` file: passwords stay, new ones are random, addresses follow the ports."""
    before = read(path)
    passwords = {name: before.get(name) or secrets.token_urlsafe(18) for name in _PASSWORDS}
    variables = addresses(ports) | passwords
    text = "".join(f"{name}={value}\n" for name, value in sorted(variables.items()))
    write_atomically(path, text, mode=0o600)
    return variables


def without_admin(variables: Mapping[str, str]) -> dict[str, str]:
    """What a server may know: not how to be MySQL's administrator."""
    return {k: v for k, v in variables.items() if not k.startswith("CALLSHEET_MYSQL_ADMIN_")}
