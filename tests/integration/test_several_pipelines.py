"""`callsheet run a.yaml b.yaml c.yaml`: what one pipeline suffers, the others do not."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.downstream_job import DownstreamJob
from tests.support.kafka import a_cluster, eventually
from tests.support.main_job_files import CHECKOUT


@pytest.fixture
def job(stack_env: dict[str, str], live_stack: object, tmp_path: Path) -> Iterator[DownstreamJob]:
    with a_cluster(stack_env) as cluster:
        topic, letters = cluster.topic(3), cluster.topic(suffix="letters")
        made = DownstreamJob(cluster, tmp_path, stack_env["CALLSHEET_REGISTRY_URL"], topic, letters)
        yield made
        there = cluster.admin.list_topics(timeout=20).topics
        cluster.made = [name for name in there if name.startswith(f"{cluster.name}.")]


def beside(job: DownstreamJob, name: str, sink: dict[str, Any]) -> Path:
    """A pipeline that reads the same topic, in a group of its own, into another destination."""
    document = json.loads(job.write(name).read_text())
    document |= {"name": f"{job.name}-{name}", "sink": sink}
    document["kafka"]["group_id"] = f"{job.name}-{name}"
    document["dead_letters"] = {"topic": f"{job.name}.{name}-letters"}
    file = job.folder / f"{name}.yaml"
    file.write_text(json.dumps(document))
    return file


@contextmanager
def running(*files: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The command, and where it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "callsheet.cli", "run", *map(str, files), "--http", address]
    env = {**os.environ, "CALLSHEET_STATE_DIR": str(folder / "state")}
    process = subprocess.Popen(command, cwd=CHECKOUT, env=env, stderr=subprocess.DEVNULL)
    try:
        yield process, f"http://{address}"
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(60)


def answers(base: str, path: str) -> int:
    try:
        return httpx.get(f"{base}{path}", trust_env=False, timeout=5).status_code
    except httpx.HTTPError:
        return 0


def state(base: str, pipeline: str) -> dict[str, Any]:
    states = httpx.get(f"{base}/status", trust_env=False, timeout=5).json()
    return next(each for each in states if each["pipeline"] == pipeline)


def test_a_slow_a_broken_and_a_killed_pipeline_hold_up_no_other(job: DownstreamJob) -> None:
    well = job.write("well")
    away = beside(job, "away", {"type": "elasticsearch", "hosts": ["http://127.0.0.1:9"]})
    broken = beside(job, "broken", {"type": "elasticsearch", "hosts": ["nonsense"]})
    job.change(300)
    with running(well, away, broken, folder=job.folder) as (process, base):
        eventually(lambda: answers(base, f"/readyz/{job.name}") == 200, "the one is well")
        eventually(
            lambda: "must be edited" in state(base, f"{job.name}-broken")["detail"],
            "one is refused",
        )
        job.check()
        assert answers(base, f"/readyz/{job.name}-away") == 503
        assert answers(base, "/readyz") == 503
        assert answers(base, "/livez") == 200

        victim = state(base, job.name)["pid"]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: state(base, job.name)["restarts"] == 1, "it is started again")
        job.change(100)
        job.check()
        others = state(base, f"{job.name}-away")
        assert others["restarts"] == 0
        assert psutil.pid_exists(others["pid"])

        text = httpx.get(f"{base}/metrics", trust_env=False, timeout=5).text
        for name in (job.name, f"{job.name}-away"):
            assert f'callsheet_consumed_events_total{{pipeline="{name}",worker="0"}}' in text
        assert not job.cluster.groups.committed(f"{job.name}-away"), "a group of its own"
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 78, "whoever started it learns that a file must be edited"
