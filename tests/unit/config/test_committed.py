"""What is in the repository is valid, and its documentation is current."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from callsheet.cli import reference
from callsheet.config.loading import load
from callsheet.config.models import PipelineSettings
from sinks import plugin

CHECKOUT = Path(__file__).parents[3]
PIPELINES = sorted((CHECKOUT / "cdc-config/pipelines").glob("*.yaml"))


@pytest.mark.parametrize("file", PIPELINES, ids=lambda file: file.name)
def test_the_committed_pipelines_load_without_any_environment(file: Path) -> None:
    pipeline = load(file, {}, plugin)
    assert pipeline.name == file.stem
    assert pipeline.config_dir == CHECKOUT / "cdc-config"


def test_the_committed_pipelines_do_not_get_in_each_others_way() -> None:
    loaded = [load(file, {}, plugin).settings for file in PIPELINES]
    assert len({settings.group_id for settings in loaded}) == len(loaded)
    assert len({settings.http.port for settings in loaded}) == len(loaded)


def test_the_documentation_is_current() -> None:
    written = (CHECKOUT / "docs/configuration.md").read_text("utf-8")
    assert written == reference.text(), "run: python -m callsheet.cli.reference"


def test_every_key_is_documented() -> None:
    text = reference.text()
    for name in PipelineSettings.model_fields:
        assert f"`{name}`" in text


def test_the_parent_process_stays_small() -> None:
    """It would double the memory of a worker if it brought the worker's libraries."""
    code = (
        "import sys, callsheet.supervision, callsheet.observability.http, callsheet.runtime,"
        " callsheet.config.loading, callsheet.cli.run\n"
        "print({'polars', 'confluent_kafka', 'fastavro', 'elasticsearch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, env=os.environ, capture_output=True, check=True
    )
    assert done.stdout.strip() == b"set()"
