"""`callsheet erase` on a real broker: a compacted topic, and dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from callsheet.cli.erasure import Erasure, Wish, erase
from callsheet.kafka.letters import State
from callsheet.sink import Holding
from tests.integration.test_kafka_redrive import Desk
from tests.support.downstream import headers_of, records
from tests.support.downstream_job import DownstreamJob, Supervised
from tests.support.kafka import a_cluster


@pytest.fixture
def job(stack_env: dict[str, str], live_stack: object, tmp_path: Path) -> Iterator[DownstreamJob]:
    with a_cluster(stack_env) as cluster:
        topic, letters = cluster.topic(3, "finance.titles"), cluster.topic(suffix="letters")
        made = DownstreamJob(cluster, tmp_path, stack_env["CALLSHEET_REGISTRY_URL"], topic, letters)
        yield made


def run(desk: Desk, *identifiers: str, is_dry: bool = False) -> Erasure:
    wish = Wish("finance.titles", identifiers, is_dry=is_dry)
    found = erase(desk.pipeline, wish, structlog.get_logger())
    assert found is not None
    return found


def test_a_row_leaves_the_compacted_topic_and_the_letters(job: DownstreamJob) -> None:
    """Its topic is named like its source: both end in the table's name."""
    desk = Desk(job, "latest", prefix=f"{job.name}.down")
    with Supervised(job, desk.file) as running:
        desk.change(
            ("u", 1, "secret", 100), ("u", 2, "other", 110),
            ("u", 1, None, 120), ("u", 2, None, 130), ("u", 3, None, 140),
        )  # fmt: skip
        job.cluster.made.append(desk.target)
        desk.declare(["null", "string"])
        seen = run(desk, "1", is_dry=True)
        assert seen.letters is not None
        assert (len(seen.letters.erased), len(seen.letters.kept)) == (1, 2)
        assert desk.state()[b"1"] == (100, True)

        erased = run(desk, "1", "9")
        assert erased.is_complete
        assert erased.before["1"].has_values
        assert erased.after == {
            "1": Holding(False, erased.before["1"].version), "9": Holding(False, None),
        }  # fmt: skip
        assert desk.state() == {b"1": (100, False), b"2": (110, True)}
        assert [x.source_offset for x in desk.book().open()] == [3, 4]
        assert {x.state for x in desk.book().letters.values()} == {State.OPEN}
        address = job.cluster.connection.bootstrap_servers
        assert all(b"secret" not in (m.value() or b"") for m in records(address, job.letters))
        [tombstone] = [m for m in records(address, desk.target) if m.value() is None]
        assert headers_of(tombstone)["callsheet-erased"] == b"1"

        # The letters that stayed can be redriven; the row's own state does not come back.
        outcome = desk.redrive()
        assert (outcome.redriven, outcome.written) == (2, 2)
        assert desk.state()[b"1"] == (100, False)
        assert running.states()[0].restarts == 0
    assert run(desk, "1").is_complete


def test_a_log_is_left_to_its_retention(job: DownstreamJob) -> None:
    desk = Desk(job, "log", prefix=f"{job.name}.down")
    with Supervised(job, desk.file):
        desk.change(("u", 1, "secret", 100))
        job.cluster.made.append(desk.target)
    found = run(desk, "1")
    assert (found.can_erase, found.before) == (False, {})
