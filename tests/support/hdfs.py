"""A real HDFS for tests, in the suite's own stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from callsheet.errors import PreconditionError
from sinks.hive.stores.webhdfs import HdfsStore
from stack import Stack
from tests.support.tcp_proxy import TcpProxy

REQUEST_TIMEOUT_S = 10.0


@pytest.fixture(scope="session")
def webhdfs(live_stack: Stack) -> str:
    """The NameNode's address; it starts only for those who ask."""
    try:
        live_stack.up(["hdfs"])
    except PreconditionError as error:
        pytest.skip(error.message)  # it needs a Java that nothing else does
    return live_stack.environment()["CALLSHEET_WEBHDFS_URL"]


@pytest.fixture
def hdfs_root(webhdfs: str) -> Iterator[str]:
    """A directory of the test's own."""
    name = f"audit-{uuid4().hex}"
    yield f"/tests/{name}"
    store = HdfsStore([webhdfs], "/tests", user="callsheet")
    store.remove(name)
    store.close()


@pytest.fixture
def hdfs_store(webhdfs: str, hdfs_root: str) -> Iterator[HdfsStore]:
    store = a_store(webhdfs, hdfs_root)
    yield store
    store.close()


def a_store(url: str, root: str) -> HdfsStore:
    return HdfsStore([url], root, user="callsheet", timeout_s=REQUEST_TIMEOUT_S)


@contextmanager
def behind_a_proxy(url: str) -> Iterator[tuple[str, TcpProxy]]:
    """The NameNode at another address; its DataNodes are reached directly."""
    address = urlsplit(url)
    with TcpProxy((address.hostname or "", address.port or 0)) as proxy:
        yield f"http://127.0.0.1:{proxy.port}", proxy
