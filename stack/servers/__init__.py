"""The servers, in the order in which they are shown."""

from __future__ import annotations

from stack.server import Server
from stack.servers.connect import Connect
from stack.servers.elasticsearch import Elasticsearch
from stack.servers.hdfs import Hdfs, NameNode
from stack.servers.hive import Hive
from stack.servers.kafka import Kafka
from stack.servers.mysql import Mysql
from stack.servers.registry import Registry

DEFAULT_SERVERS = ("mysql", "kafka", "connect", "registry", "elasticsearch")


def servers() -> dict[str, Server]:
    """Every server there is, by name; those not in DEFAULT_SERVERS start only when asked for."""
    every: list[Server] = [Mysql(), Kafka(), Connect(), Registry(), Elasticsearch(), Hive()]
    every += [NameNode(), Hdfs()]
    return {each.traits.name: each for each in every}
