"""The store laws on each store that needs no server of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from obstore.store import MemoryStore

from sinks.hive.stores.local import LocalStore
from sinks.hive.stores.objects import ObjectStore
from sinks.hive.stores.port import Store
from tests.contract.store_laws import StoreLaws
from tests.contract.upkeep_laws import UpkeepLaws


class TestLocalStore(StoreLaws):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LocalStore(tmp_path / "made" / "here")

    @pytest.fixture
    def another(self, tmp_path: Path) -> Store:
        return LocalStore(tmp_path / "made" / "here")


class TestObjectStore(StoreLaws):
    """The code for S3, on the same client library's store in memory."""

    @pytest.fixture
    def client(self) -> MemoryStore:
        return MemoryStore()

    @pytest.fixture
    def store(self, client: MemoryStore) -> Store:
        return ObjectStore(client, "some/prefix")

    @pytest.fixture
    def another(self, client: MemoryStore) -> Store:
        return ObjectStore(client, "/some/prefix/")


class TestLocalUpkeep(UpkeepLaws):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LocalStore(tmp_path)
