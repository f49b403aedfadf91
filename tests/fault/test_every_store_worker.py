"""Workers killed at every step, at random, and frozen in the middle of a flush: all four stores end
up as MySQL is, and the audit has each change once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from random import Random
from typing import Final

import pytest

from finance.database import Role
from stack import Stack
from tests.support.crew import Crew, a_crew
from tests.support.every_store import PATIENCE_S, Scene
from tests.support.every_store_files import ROTATION_S, SINKS
from tests.support.polling import until
from tests.support.reliability import is_whole_matrix, measured, rate_per_s

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Points = Mapping[str, str]
"""By store, at which point its worker is hit: see tests/support/trapped_child.py."""

STEPS: Final = ("fetched", "written", "acknowledged", "committing", "committed")
WAVES: Final[dict[str, Points]] = {
    **{step: dict.fromkeys(SINKS, step) for step in STEPS},
    "before the store has it": {
        "search": "bulk", "audit": "staged", "downstream": "records_sent", "replica": "begun",
    },
    "the store has half of it": {
        "audit": "moved_some", "downstream": "offsets_sent", "replica": "rows",
    },
    "nobody has read the answer": {
        "search": "bulk_sent", "audit": "named", "downstream": "commit_sent",
        "replica": "commit_sent",
    },
    "the store has it, nobody knows": {
        "search": "bulk_answered", "audit": "moved_last", "downstream": "transaction_committed",
        "replica": "replica_committed",
    },
    "and after": {"audit": "marked", "replica": "offsets"},
}  # fmt: skip
COURSES: Final = (STEPS[:3], STEPS[3:], tuple(WAVES)[5:8], tuple(WAVES)[8:])
"""What `make test` proves in one go; the whole matrix proves every wave."""

ZOMBIES: Final[dict[str, Points]] = {
    "before the store has it": {
        "search": "bulk", "audit": "staged", "downstream": "records_sent", "replica": "rows",
    },
    "while the store takes it": {
        "search": "bulk_answered", "audit": "moved_some", "downstream": "offsets_sent",
        "replica": "offsets",
    },
}  # fmt: skip
KILLS: Final = 10
SEED: Final = 20261123


@pytest.fixture(scope="module")
def crew(
    live_stack: Stack, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Crew]:
    folder = tmp_path_factory.mktemp("every_store_worker")
    with a_crew(live_stack, folder, rate_per_s=rate_per_s(pytestconfig)) as crew:
        yield crew


LONG_AGO_US: Final = 1_772_366_400_000_000
"""2026-03-01, of a transaction's commit: Debezium takes the commit time that the GTID event has, as
it came from the transaction's first server, whatever the clock of its rows said.
"""


def changes_of_two_days(scene: Scene) -> None:
    """Of one row, one right after the other, so that a range of the audit has two files."""
    change = "UPDATE titles SET votes = COALESCE(votes, 0) + 1 ORDER BY title_id LIMIT 1"
    with scene.job.database.engine(Role.ADMIN).connect() as connection:
        for committed_us in (LONG_AGO_US, "DEFAULT"):
            connection.exec_driver_sql(f"SET SESSION original_commit_timestamp = {committed_us}")
            connection.exec_driver_sql(change)
            connection.commit()


def strike(crew: Crew, points: Points, *, freeze: bool = False) -> dict[str, int]:
    """Set the traps, and work until each worker has stepped into its own."""
    crew.trap(points, freeze=freeze)
    again_s = 0.0

    def are_hit() -> bool:
        nonlocal again_s
        if "moved_some" in points.values() and time.monotonic() >= again_s:
            changes_of_two_days(crew.scene)
            again_s = time.monotonic() + 3 * ROTATION_S
        return all(crew.is_hit(sink) for sink in points)

    until(are_hit, f"each steps into its trap: {points}", PATIENCE_S)
    return crew.wait_until_hit(points)


@pytest.fixture(params=COURSES, ids=" / ".join)
def course(request: pytest.FixtureRequest) -> tuple[str, ...]:
    waves: tuple[str, ...] = request.param
    return waves


def test_killed_at_every_step(
    crew: Crew, course: tuple[str, ...], pytestconfig: pytest.Config
) -> None:
    """All four at once, each in the middle of its work."""
    for waves in [(wave,) for wave in course] if is_whole_matrix(pytestconfig) else [course]:
        with measured(pytestconfig, "worker killed", " / ".join(waves)) as found:
            with crew.scene.load() as load:
                for wave in waves:
                    crew.wait_until_back(strike(crew, WAVES[wave]))
            found.recovery_s, found.changes = crew.scene.catch_up(), load.changes
            crew.scene.verify()


@pytest.mark.timeout(2400)  # a hundred kills, and ten proofs
def test_killed_at_random(crew: Crew, pytestconfig: pytest.Config) -> None:
    """Any of them, at any moment; the next one while the last is still on its way back."""
    scene, random, moment = crew.scene, Random(SEED), threading.Event()
    rounds = 10 if is_whole_matrix(pytestconfig) else 1
    print(f"seed {SEED}")
    for _ in range(rounds):
        with measured(pytestconfig, "worker killed", "at random") as found:
            found.runs = 0
            with scene.load() as load:
                while found.runs < KILLS:
                    sink, delay_s = random.choice(SINKS), random.uniform(0.1, 1.5)
                    victim = crew.kill(sink)
                    found.runs += victim is not None
                    moment.wait(delay_s)
                crew.wait_until_back(dict.fromkeys(SINKS))
            found.recovery_s, found.changes = scene.catch_up(), load.changes
            scene.verify()


@pytest.mark.parametrize("moment", ZOMBIES)
def test_frozen_in_mid_flush_and_awake_when_others_have_taken_over(
    crew: Crew, moment: str, pytestconfig: pytest.Config
) -> None:
    if moment != next(iter(ZOMBIES)) and not is_whole_matrix(pytestconfig):
        pytest.skip("make test-faults")
    scene = crew.scene
    heirs = Crew(scene, f"heirs-{list(ZOMBIES).index(moment)}")
    with measured(pytestconfig, "worker frozen, wakes as a zombie", moment) as found:
        try:
            with scene.load() as load:
                zombies = strike(crew, ZOMBIES[moment], freeze=True)
                heirs.hire_beside()
                scene.catch_up()  # without them
                for pid in zombies.values():
                    os.kill(pid, signal.SIGCONT)
                until(
                    lambda: is_shared(scene),
                    "they are members again, beside their heirs",
                    PATIENCE_S,
                )
            found.recovery_s, found.changes = scene.catch_up(), load.changes
            scene.verify()
        finally:
            heirs.end()


def is_shared(scene: Scene) -> bool:
    groups = scene.job.groups
    return all(len(groups.state(p.group).members) == 2 for p in scene.pipelines.values())
