"""Where a scene's servers are: each behind a proxy where its clients let one stand there."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from stack import Stack
from tests.support.every_store_files import Addresses
from tests.support.faulty import Server, of_stack
from tests.support.kafka_proxy import KafkaProxy
from tests.support.main_job import MainJob
from tests.support.second_mysql import SecondMysql
from tests.support.sql import Replica
from tests.support.tcp_proxy import TcpProxy


def audit_root(job: MainJob) -> str:
    return f"/tests/{job.name}"


def proxies_before(stack: Stack, mysql: SecondMysql) -> dict[str, TcpProxy]:
    env = stack.environment()
    host, _, port = env["CALLSHEET_KAFKA_BOOTSTRAP"].rpartition(":")
    return {
        "kafka": KafkaProxy((host, int(port))),
        "registry": TcpProxy(address_of(env["CALLSHEET_REGISTRY_URL"])),
        "elasticsearch": TcpProxy(address_of(env["CALLSHEET_ELASTICSEARCH_URL"])),
        "namenode": TcpProxy(address_of(env["CALLSHEET_WEBHDFS_URL"])),
        "hive": TcpProxy((env["CALLSHEET_HIVE_HOST"], int(env["CALLSHEET_HIVE_PORT"]))),
        "replica": TcpProxy(("127.0.0.1", mysql.port)),
    }


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def addresses_of(
    stack: Stack, job: MainJob, replica: Replica, proxies: Mapping[str, TcpProxy]
) -> Addresses:
    env = stack.environment()
    path = urlsplit(env["CALLSHEET_REGISTRY_URL"]).path
    return Addresses(
        kafka=f"127.0.0.1:{proxies['kafka'].port}",
        registry=f"http://127.0.0.1:{proxies['registry'].port}{path}",
        elasticsearch=f"http://127.0.0.1:{proxies['elasticsearch'].port}",
        webhdfs=f"http://127.0.0.1:{proxies['namenode'].port}",
        audit_root=audit_root(job),
        hive_port=proxies["hive"].port,
        audit_location=env["CALLSHEET_HDFS_URL"] + audit_root(job),
        replica=replica.settings().url,
    )


def servers_of(
    stack: Stack, mysql: SecondMysql, proxies: Mapping[str, TcpProxy]
) -> dict[str, Server]:
    return {
        **{name: of_stack(stack, name, proxies[name]) for name in ("registry", "elasticsearch")},
        "kafka": of_stack(stack, "kafka", proxies["kafka"]),
        "connect": of_stack(stack, "connect"),
        # Files can be written again once the DataNode has found its new NameNode.
        "namenode": of_stack(stack, "namenode", proxies["namenode"], answers_as="hdfs"),
        "datanode": of_stack(stack, "hdfs"),
        "hive": of_stack(stack, "hive", proxies["hive"]),
        "replica": Server("replica", mysql.kill, mysql.start, mysql.processes, proxies["replica"]),
    }
