"""The store laws and the sink laws on a real HDFS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from callsheet.testing import Destination
from sinks.hive.stores.port import Store
from sinks.hive.stores.webhdfs import HdfsStore
from tests.contract.store_laws import StoreLaws
from tests.contract.test_hive import AuditLaws
from tests.contract.upkeep_laws import UpkeepLaws
from tests.support.hdfs import a_store, behind_a_proxy, hdfs_root, hdfs_store, webhdfs
from tests.support.hive import HiveDestination

__all__ = ["hdfs_root", "hdfs_store", "webhdfs"]


class TestHdfsStore(StoreLaws):
    @pytest.fixture
    def store(self, hdfs_store: HdfsStore) -> Store:
        return hdfs_store

    @pytest.fixture
    def another(self, webhdfs: str, hdfs_root: str) -> Iterator[Store]:
        # The first NameNode is not there, as in an HA pair that has failed over.
        store = HdfsStore(["http://127.0.0.1:1", webhdfs], hdfs_root, user="callsheet")
        yield store
        store.close()


class TestHiveSinkOnHdfs(AuditLaws):
    @pytest.fixture
    def destination(
        self, webhdfs: str, hdfs_root: str, hdfs_store: HdfsStore
    ) -> Iterator[Destination]:
        with behind_a_proxy(webhdfs) as (url, proxy):
            yield HiveDestination(
                lambda: a_store(url, hdfs_root), proxy.freeze, proxy.thaw, reader=hdfs_store
            )


class TestUpkeepOnHdfs(UpkeepLaws):
    @pytest.fixture
    def store(self, hdfs_store: HdfsStore) -> Store:
        return hdfs_store
