"""The four committed pipelines, rewritten for one capture and for servers behind proxies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml import YAML

from tests.support.main_job import MainJob
from tests.support.main_job_files import CHECKOUT, Pipeline

SINKS: Final = ("search", "audit", "downstream", "replica")
"""By the names of their files in ``cdc-config/pipelines``."""

ROTATION_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the workers find their neighbours: mostly proxies."""

    kafka: str
    registry: str
    elasticsearch: str
    webhdfs: str
    audit_root: str
    """In HDFS."""
    hive_port: int
    audit_location: str
    """The same root as Hive names it."""
    replica: str
    """SQLAlchemy's URL; root without a password."""


def write_pipelines(job: MainJob, at: Addresses) -> dict[str, Pipeline]:
    return {sink: _write(job, sink, at) for sink in SINKS}


def _write(job: MainJob, sink: str, at: Addresses) -> Pipeline:
    text = (CHECKOUT / f"cdc-config/pipelines/{sink}.yaml").read_text("utf-8")
    document = YAML(typ="safe").load(text)
    name = f"{job.name}-{sink}"
    topics = tuple(job.topic(table) for table in job.captured)
    made = Pipeline(job.folder / f"pipelines/{name}.yaml", name, topics, f"{name}-{{table}}")
    document["name"] = name
    document["source"] |= {"topics": list(topics), "topic_prefix": job.name}
    document["source"]["registry"] = {"url": at.registry}
    # A static member is back without waiting for the end of its predecessor's session.
    document["kafka"] = {"bootstrap_servers": at.kafka, "instance_id": name}
    # Soon, because tests wait for commits and for the end of a killed worker's session.
    document["delivery"] = {"commit_interval_seconds": 0.2, "session_timeout_seconds": 6}
    document["http"] = {"port": 0}
    document["sink"] |= _sink(job, sink, at, made)
    made.path.parent.mkdir(parents=True, exist_ok=True)
    made.path.write_text(json.dumps(document, indent=2), "utf-8")  # JSON is YAML
    job.pipelines.append(made)
    return made


def _sink(job: MainJob, sink: str, at: Addresses, made: Pipeline) -> Mapping[str, Any]:
    server = {"host": "127.0.0.1", "port": at.hive_port, "location": at.audit_location}
    of: dict[str, Mapping[str, Any]] = {
        "search": {
            "hosts": [at.elasticsearch],
            "index": made.index,
            "refresh_interval_seconds": 0.2,
        },
        "audit": {
            "store": {
                "type": "hdfs",
                "namenodes": [at.webhdfs],
                "root": at.audit_root,
                "user": "callsheet",
            },
            "table": "{table}",
            "rotation": {"seconds": ROTATION_S},
            "server": {**server, "database": job.name.replace("-", "_")},
        },
        "downstream": {
            "prefix": f"down-{job.name}",
            "partitions": 2,
            "replication_factor": 1,
            "registry": {"url": at.registry},
        },
        # Its password is what the committed file says: none.
        "replica": {"url": at.replica, "username": "root"},
    }
    return of[sink]
