"""docs/writing-a-sink.md: its sink as a package of somebody else's, found, checked and tested."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from callsheet.testing import SinkLaws

pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "docs/writing-a-sink.md").read_text("utf-8")
FILES: Mapping[str, str] = dict(re.findall(r"\*\*`(\S+)`\*\*\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with the package as an installer leaves it, beside its project."""
    folder = tmp_path / "site-packages"
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    names = "Metadata-Version: 2.4", f"Name: {project['name']}", f"Version: {project['version']}"
    (info / "METADATA").write_text("\n".join(names) + "\n")
    points = [
        line
        for group, members in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {at}" for name, at in members.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(points) + "\n")
    (folder / "jsonl_sink.py").write_text(FILES["jsonl_sink.py"])
    for name in ("films.yaml", "test_jsonl_sink.py"):
        (tmp_path / name).write_text(FILES[name])
    return folder


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Outside of this checkout: only the two packages are known."""
    paths = os.pathsep.join((str(site), str(CHECKOUT)))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=site.parent,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_it_is_found_by_its_entry_point_and_its_settings_are_checked(site: Path) -> None:
    found = run(site, "-m", "callsheet.cli", "validate", "films.yaml")
    assert (found.returncode, found.stderr) == (0, "")
    assert "1 files, no fault" in found.stdout

    pipeline = site.parent / "films.yaml"
    pipeline.write_text(pipeline.read_text().replace("folder:", "directory:"))
    refused = run(site, "-m", "callsheet.cli", "validate", "films.yaml")
    line = FILES["films.yaml"].splitlines().index("  folder: /var/lib/callsheet/films") + 1
    assert refused.returncode == 78
    assert f"films.yaml:{line}: sink.directory: unknown key" in refused.stdout


def test_it_inherits_the_laws_and_keeps_them(site: Path) -> None:
    ran = run(site, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-rA")
    assert ran.returncode == 0, ran.stdout
    passed = re.findall(
        r"^PASSED test_jsonl_sink.py::TestFileSink::(\w+)", ran.stdout, re.MULTILINE
    )
    own = {"test_a_line_that_a_kill_tore_is_written_anew"}
    assert set(passed) == {name for name in dir(SinkLaws) if name.startswith("test_")} | own


def test_it_is_as_short_as_the_page_says() -> None:
    assert sum(1 for line in FILES["jsonl_sink.py"].splitlines() if line.strip()) <= 60
