"""Each server stopped, frozen or slowed under load: all four stores end up as MySQL is, the audit
and the topics downstream have each change once, and no worker dies of it.

`make test` does some of this for a few seconds, `make test-faults` all of it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Final
from uuid import uuid4

import pytest

from callsheet.errors import PreconditionError
from sinks.hive.hiveserver import HiveServer
from sinks.hive.settings import HiveServerSettings
from stack import Stack
from tests.support.every_store import Scene, every_store
from tests.support.faulty import Mode
from tests.support.hive import rows
from tests.support.main_job_files import CHECKOUT
from tests.support.polling import until
from tests.support.reliability import fault_seconds, is_whole_matrix, measured, rate_per_s

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BRIEF_S: Final = 4.0
"""How long `make test` has each server away."""

SERVERS: Final = (
    "kafka", "connect", "elasticsearch", "namenode", "datanode", "replica", "registry", "hive",
)  # fmt: skip
BRIEFLY: Final = {
    "kafka": Mode.STOPPED,
    "connect": Mode.STOPPED,
    "elasticsearch": Mode.FROZEN,
    "namenode": Mode.STOPPED,
    "datanode": Mode.FROZEN,
    "replica": Mode.STOPPED,
    "registry": Mode.STOPPED,
    "hive": Mode.STOPPED,
}
"""What `make test` does."""
DEATHS: Final = 10
MOST_CHANGES: Final = 30_000
"""Of one scene: each proof reads all of the audit's files, small ones here."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every way, or what is brief, for tests that name their server or take those of the rest."""
    if "server" not in metafunc.fixturenames:
        return
    own = {"test_the_registry": ["registry"], "test_hiveserver": ["hive"]}
    rest = [name for name in SERVERS if name not in ("registry", "hive")]
    chosen = [
        (server, mode)
        for server in own.get(metafunc.function.__name__, rest)
        for mode in Mode
        if is_whole_matrix(metafunc.config) or BRIEFLY.get(server) is mode
    ]
    metafunc.parametrize(("server", "mode"), chosen, ids=[f"{s}-{m}" for s, m in chosen])


class Scenes:
    """One at a time: the next test goes on with it if it was proven, and is not too long yet."""

    def __init__(self, stack: Stack, folder: Path, rate_per_s: float) -> None:
        self._stack, self._folder, self._rate_per_s = stack, folder, rate_per_s
        self._held, self._number = ExitStack(), 0
        self._scene: Scene | None = None

    def get(self) -> Scene:
        scene = self._scene
        if scene is None or not scene.is_proven or scene.changes > MOST_CHANGES:
            self.close()
            if self._number and (scene is None or not scene.is_proven):
                self._stack.kill("connect")  # a sick one must not fail the next tests as well
                self._stack.up(["connect"])
            self._number += 1
            folder = self._folder / str(self._number)
            folder.mkdir()
            scene = self._scene = self._held.enter_context(
                every_store(self._stack, folder, rate_per_s=self._rate_per_s)
            )
        return scene

    def close(self) -> None:
        self._scene = None
        self._held.close()


@pytest.fixture(scope="module")
def scenes(
    live_stack: Stack, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Scenes]:
    folder = tmp_path_factory.mktemp("every_store_servers")
    scenes = Scenes(live_stack, folder, rate_per_s(pytestconfig))
    yield scenes
    scenes.close()


@pytest.fixture
def scene(scenes: Scenes) -> Scene:
    return scenes.get()


def stay(scene: Scene, seconds: float) -> None:
    """Away for so long; meanwhile an orchestrator that asks finds no reason to kill a worker."""
    end, never = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < end:
        assert scene.are_live(), scene.describe()
        never.wait(0.2)


def works(scene: Scene) -> None:
    """Every worker is at work."""
    before = scene.consumed()
    until(
        lambda: all(now > before[sink] for sink, now in scene.consumed().items()),
        "every worker consumes",
    )


def assert_unharmed(scene: Scene) -> None:
    """No worker had to be started again; but for what the brokers themselves get wrong, see
    FENCED_INSTANCE_ID in callsheet/kafka/faults.py.
    """
    ends = scene.last_errors()
    assert all("with our instance id" in error for error in ends), scene.describe()


def add_a_column(scene: Scene) -> str:
    """A schema that nobody knows yet, and a value of it in every row. Returns the column's name."""
    name = f"agency_{uuid4().hex[:6]}"
    scene.job.database.execute(f"ALTER TABLE talent ADD COLUMN {name} VARCHAR(60) NULL")
    scene.job.database.execute(f"UPDATE talent SET {name} = CONCAT('Agency ', talent_id)")
    return name


def test_a_server(scene: Scene, server: str, mode: Mode, pytestconfig: pytest.Config) -> None:
    seconds = fault_seconds(pytestconfig, BRIEF_S)
    with measured(pytestconfig, server, mode, seconds) as found:
        with scene.load() as load:
            works(scene)
            with scene.servers[server].faulty(mode):
                stay(scene, seconds)
            found.recovery_s = scene.catch_up()
        found.changes = load.changes
        scene.settle()
        scene.verify()
    assert_unharmed(scene)


@pytest.mark.timeout(1800)
def test_brokers_that_die_again_and_again(scene: Scene, pytestconfig: pytest.Config) -> None:
    """In whatever moment of a transaction: what they forget of one shows in the next."""
    if not is_whole_matrix(pytestconfig):
        pytest.skip("make test-faults")
    with measured(pytestconfig, "kafka", f"killed {DEATHS} times, at any moment") as found:
        moments = Random()
        with scene.load() as load:
            for _ in range(DEATHS):
                works(scene)
                stay(scene, moments.uniform(0.5, 3.0))
                with scene.servers["kafka"].faulty(Mode.STOPPED):
                    stay(scene, moments.uniform(0.0, 1.0))
                found.recovery_s = max(found.recovery_s, scene.catch_up())
        found.changes = load.changes
        scene.settle()
        scene.verify()
    assert_unharmed(scene)


def test_the_registry(scene: Scene, server: str, mode: Mode, pytestconfig: pytest.Config) -> None:
    """It is asked for schemas only: so there is a new one, and workers that know none at all."""
    seconds = fault_seconds(pytestconfig, BRIEF_S)
    with measured(pytestconfig, server, mode, seconds) as found:
        with scene.load() as load:
            add_a_column(scene)
            scene.job.wait_for_capture()  # Connect has registered it
            with scene.servers[server].faulty(mode):
                scene.restart()
                stay(scene, seconds)
            found.recovery_s = scene.catch_up()
        found.changes = load.changes
        scene.settle()
        scene.verify()
    assert_unharmed(scene)


def test_hiveserver(
    scene: Scene, server: str, mode: Mode, live_stack: Stack, pytestconfig: pytest.Config
) -> None:
    """It is on no record's way: the audit is as quick without it, and shown when it is back."""
    try:
        live_stack.up(["hive"])
    except PreconditionError as error:
        pytest.skip(error.message)  # it needs a Java that nothing else does
    seconds = fault_seconds(pytestconfig, BRIEF_S)
    with measured(pytestconfig, server, mode, seconds) as found, publishing(scene):
        until(lambda: shown(scene), "Hive shows talent")
        with scene.load() as load:
            with scene.servers[server].faulty(mode):
                column = add_a_column(scene)
                stay(scene, seconds)
                scene.catch_up()  # Hive is still away: nothing waits for it
            began = time.monotonic()
            until(lambda: f"after_{column}" in columns_shown(scene), "Hive shows the new column")
            found.recovery_s = time.monotonic() - began
        found.changes = load.changes
        scene.settle()
        scene.verify()
        audited = rows(scene.stores.audit, "talent")
        given = audited.get_column(f"after_{column}").count()
        assert shown(scene, f"COUNT(*), COUNT(after_{column})") == [(audited.height, given)]
    assert_unharmed(scene)


@contextmanager
def publishing(scene: Scene) -> Iterator[None]:
    """`callsheet audit publish`, again and again."""
    words = [sys.executable, "-m", "callsheet.cli", "audit", "publish", "--every", "1"]
    with (scene.job.folder / "publish.log").open("ab") as log:
        process = subprocess.Popen(
            [*words, str(scene.pipelines["audit"].path)],
            env={**scene.job.environ},
            cwd=CHECKOUT,
            stdout=log,
            stderr=log,
        )
    try:
        yield
        assert process.poll() is None, "publishing has ended"
    finally:
        process.terminate()
        process.wait(60)


def shown(scene: Scene, what: str = "COUNT(*)") -> list[tuple[object, ...]]:
    """What Hive answers of the audit's talent; nothing while it has no such table."""
    if "after_talent_id" not in columns_shown(scene):
        return []
    with hive(scene) as server:
        return server.rows(f"SELECT {what} FROM {database(scene)}.talent")


def columns_shown(scene: Scene) -> list[str]:
    with hive(scene) as server:
        if (database(scene),) not in server.rows("SHOW DATABASES"):
            return []
        if ("talent",) not in server.rows(f"SHOW TABLES IN {database(scene)}"):
            return []
        return [str(row[0]) for row in server.rows(f"DESCRIBE {database(scene)}.talent")]


def hive(scene: Scene) -> HiveServer:
    """Going around the proxy."""
    env = scene.job.environ
    host, port = env["CALLSHEET_HIVE_HOST"], int(env["CALLSHEET_HIVE_PORT"])
    location = env["CALLSHEET_HDFS_URL"] + "/tests"
    return HiveServer(HiveServerSettings(host=host, port=port, location=location))


def database(scene: Scene) -> str:
    return scene.job.name.replace("-", "_")
