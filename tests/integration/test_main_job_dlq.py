"""`callsheet dlq` as an operator uses it: a mapping that refuses a film, mended, redriven."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from finance.database import Role
from finance.tables import TITLES
from stack import Stack
from tests.support.main_job import MainJob, a_main_job
from tests.support.main_job_files import CHECKOUT, Pipeline
from tests.support.polling import until

pytestmark = pytest.mark.slow

TOO_LONG = "x" * 40_000
"""Lucene refuses a keyword of more than 32,766 bytes."""
SECRET = "Nobody may read this synopsis"


@dataclass(slots=True)
class Desk:
    job: MainJob
    pipeline: Pipeline

    def dlq(self, command: str, *arguments: str, code: int = 0) -> Any:
        """Its JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "callsheet.cli", "dlq", command, str(self.pipeline.path),
             *arguments, "--json"],
            cwd=CHECKOUT, env=dict(self.job.environ), capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout) if done.stdout else done.stderr

    def set_synopsis(self, title_id: int, text: str) -> None:
        with self.job.database.engine(Role.APP).begin() as connection:
            connection.execute(
                sa.update(TITLES).where(TITLES.c.title_id == title_id).values(synopsis=text)
            )

    def synopsis(self, title_id: int) -> str | None:
        found = self.job.elastic.get(index=self.pipeline.alias("titles"), id=str(title_id))
        text: str | None = found["_source"]["synopsis"]
        return text

    def open_letters(self) -> list[dict[str, Any]]:
        newest: list[dict[str, Any]] = self.dlq("list")["newest"]
        return newest

    def wait_for_letters(self, count: int) -> list[dict[str, Any]]:
        until(lambda: len(self.open_letters()) >= count, f"{count} letters")
        return self.open_letters()

    def mend(self) -> None:
        """The mapping takes what it refused."""
        mended = {"synopsis": {"type": "keyword", "ignore_above": 8191}}
        self.job.elastic.indices.put_mapping(index=self.pipeline.alias("titles"), properties=mended)


@pytest.fixture(scope="module")
def desk(live_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with a_main_job(live_stack, tmp_path_factory.mktemp("main_job_dlq")) as job:
        mapping = {"mappings": {"properties": {"synopsis": {"type": "keyword"}}}}
        file = job.folder / "mappings" / f"{job.database.name}.titles.json"
        file.write_text(json.dumps(mapping), "utf-8")
        job.database.load()
        job.start_capture()
        pipeline = job.pipeline(tables=["titles"])
        job.start(pipeline)
        job.wait_until_in_sync(pipeline)
        yield Desk(job, pipeline)


def test_refused_listed_mended_redriven(desk: Desk) -> None:
    assert desk.dlq("list")["letters"] == 0
    desk.set_synopsis(1, SECRET + TOO_LONG)
    [letter] = desk.wait_for_letters(1)
    assert (letter["reason"], letter["attempts"]) == ("rejected", 1)
    assert letter["topic"].endswith(".titles")
    number = str(letter["letter"])

    shown = desk.dlq("show", number)
    assert (shown["decodes"], shown["event"]["op"]) == (True, "u")
    assert SECRET not in json.dumps(shown)
    assert desk.dlq("show", number, "--values")["event"]["after"]["synopsis"].startswith(SECRET)

    preview = desk.dlq("redrive", "--all", "--dry-run")
    assert [each["verdict"] for each in preview["letters"]] == ["decodes (u)"]
    assert desk.open_letters() == [letter]

    again = desk.dlq("redrive", number, code=1)
    assert (again["redriven"], again["failed_again"]) == (1, {"rejected": 1})
    [second] = desk.open_letters()
    assert (second["attempts"], second["offset"]) == (2, letter["offset"])

    desk.mend()
    outcome = desk.dlq("redrive", "--reason", "rejected")
    assert (outcome["redriven"], outcome["written"], outcome["remaining"]) == (1, 1, 0)
    desk.job.elastic.indices.refresh(index=desk.pipeline.alias("titles"))
    assert desk.synopsis(1) == SECRET + TOO_LONG
    desk.job.assert_equal(desk.pipeline, [TITLES])

    assert desk.open_letters() == []
    assert desk.dlq("redrive", "--all")["redriven"] == 0
    states = desk.dlq("list", "--state", "all")["states"]
    assert states == {"superseded": 1, "redriven": 1}


def test_an_older_state_of_a_row_that_has_moved_on_is_stale(desk: Desk) -> None:
    _refuse_again(desk)
    desk.set_synopsis(2, TOO_LONG)
    [letter] = desk.wait_for_letters(1)
    desk.set_synopsis(2, "The row goes on")
    desk.job.wait_until_in_sync(desk.pipeline)
    assert desk.synopsis(2) == "The row goes on"
    desk.mend()
    outcome = desk.dlq("redrive", str(letter["letter"]))
    assert (outcome["redriven"], outcome["written"], outcome["stale"]) == (1, 0, 1)
    assert desk.synopsis(2) == "The row goes on"
    desk.job.assert_equal(desk.pipeline, [TITLES])


def test_a_deleted_row_does_not_come_back(desk: Desk) -> None:
    _refuse_again(desk)
    title = {"title_id": 900_001, "name": "Gone", "kind": "film", "synopsis": TOO_LONG}
    with desk.job.database.engine(Role.APP).begin() as connection:
        connection.execute(sa.insert(TITLES).values(**title))
    desk.wait_for_letters(1)
    with desk.job.database.engine(Role.APP).begin() as connection:
        connection.execute(sa.delete(TITLES).where(TITLES.c.title_id == title["title_id"]))
    desk.job.wait_until_in_sync(desk.pipeline)
    desk.mend()
    assert desk.dlq("redrive", "--all")["stale"] == 1
    desk.job.assert_equal(desk.pipeline, [TITLES])


def test_discarded_with_who_and_why(desk: Desk) -> None:
    _refuse_again(desk)
    desk.set_synopsis(3, TOO_LONG)
    [letter] = desk.wait_for_letters(1)
    number = str(letter["letter"])
    refused = desk.dlq("discard", "--why", "a test", code=2)
    assert "which letters?" in refused
    told = desk.dlq("discard", number, "--why", "a test", "--by", "ann", "--dry-run")
    assert (told["changed"], told["letters"]) == (False, [letter["letter"]])
    assert desk.dlq("discard", number, "--why", "a test", "--by", "ann")["changed"]
    assert desk.open_letters() == []
    [kept] = desk.dlq("list", "--state", "discarded")["newest"]
    assert (kept["by"], kept["why"]) == ("ann", "a test")
    desk.mend()
    assert desk.dlq("redrive", number)["redriven"] == 0
    assert desk.synopsis(3) != TOO_LONG
    desk.set_synopsis(3, "so that the tables are equal again")
    desk.job.wait_until_in_sync(desk.pipeline)
    desk.job.assert_equal(desk.pipeline, [TITLES])


def _refuse_again(desk: Desk) -> None:
    """As a mistake in a later mapping would."""
    refusing = {"synopsis": {"type": "keyword", "ignore_above": 2_147_483_647}}
    desk.job.elastic.indices.put_mapping(index=desk.pipeline.alias("titles"), properties=refusing)
