"""What a pipeline file may say of the audit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sinks import plugin
from sinks.hive.settings import HdfsStoreSettings, HiveSettings, LocalStoreSettings
from sinks.hive.stores.configured import open_store
from sinks.hive.stores.local import LocalStore
from sinks.hive.stores.objects import ObjectStore
from sinks.hive.stores.webhdfs import HdfsStore

LOCAL = {"type": "local", "root": "/var/lib/audit"}
HDFS = {"type": "hdfs", "namenodes": ["http://nn:9870"], "root": "/warehouse/audit"}
S3 = {"type": "s3", "bucket": "audit", "endpoint": "http://127.0.0.1:9000"}


def test_it_is_found_by_name() -> None:
    assert plugin("hive").settings is HiveSettings


def test_the_type_chooses_the_store() -> None:
    assert isinstance(HiveSettings.model_validate({"store": LOCAL}).store, LocalStoreSettings)
    assert isinstance(HiveSettings.model_validate({"store": HDFS}).store, HdfsStoreSettings)


@pytest.mark.parametrize(
    ("store", "kind"), [(LOCAL, LocalStore), (HDFS, HdfsStore), (S3, ObjectStore)]
)
def test_each_store_is_made_without_asking_anyone(store: dict[str, Any], kind: type) -> None:
    keys = {"access_key_id": "a", "secret_access_key": "b"} if store is S3 else {}
    made = open_store(HiveSettings.model_validate({"store": store | keys}).store)
    assert isinstance(made, kind)
    made.close()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"store": {"type": "local", "root": "audit"}}, "an absolute path"),
        ({"store": {"type": "ftp"}}, "'local', 'hdfs', 's3'"),
        ({"store": HDFS | {"namenodes": ["nn:9870"]}}, "a NameNode is written"),
        ({"store": HDFS | {"user": "u", "delegation_token": "t"}}, "either user or delegation"),
        ({"store": HDFS | {"root": "warehouse"}}, "should match pattern"),
        ({"store": S3 | {"access_key_id": "a"}}, "go together"),
        ({"table": "audit"}, "contains {table}"),
        ({"table": "{tabel}"}, "contains {table}"),
        ({"table": "Audit_{table}"}, "lower case"),
        ({"rotation": {"rows": 0}}, "greater than or equal to 1"),
        ({"rotation": {"minutes": 5}}, "Extra inputs"),
        ({"generations": {"t": -1}}, "0 or more"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        HiveSettings.model_validate({"store": LOCAL} | changes)


def test_no_secret_is_shown() -> None:
    store = {
        "type": "hdfs",
        "namenodes": ["http://n:1"],
        "root": "/a",
        "delegation_token": "s3cret",
    }
    assert "s3cret" not in repr(HiveSettings.model_validate({"store": store}))


def test_the_settings_come_without_arrow() -> None:
    """Whoever only validates a file, or looks after workers, must stay small."""
    code = (
        "import sys, sinks; sinks.plugin('hive').settings\n"
        "print({'pyarrow', 'obstore'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[4], capture_output=True, check=True
    )
    assert done.stdout.strip() == b"set()"
