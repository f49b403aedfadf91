"""`callsheet connectors` as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from typer.testing import CliRunner, Result

from callsheet.cli.connectors import app
from callsheet.errors import (
    CallsheetError,
)
from connectors.progress import measure
from connectors.responses import State
from tests.support.capture import Capture
from tests.support.polling import until


@dataclass
class Command:
    environ: Mapping[str, str] = field(repr=False)
    said: list[str] = field(default_factory=list)

    def __call__(self, *words: str) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words], env=dict(self.environ))
        error = result.exception
        shown = f"{error.message} {error.hint}" if isinstance(error, CallsheetError) else ""
        self.said.append(result.output + shown)
        return result


def test_the_commands_and_that_no_secret_is_ever_shown(capture: Capture) -> None:
    run, path = Command(capture.environ), str(capture.write())
    assert "+ topic" in run("plan", path).output
    assert run("preflight", path).exit_code == 0
    assert run("apply", path).exit_code == 0
    assert run("plan", path).output.endswith("Nothing to do.\n")
    assert json.loads(run("plan", path, "--json").stdout)["connectors"]
    offsets = capture.connect.offsets
    until(lambda: measure(offsets(capture.name), {}).position, "it has committed a position")
    (row,) = json.loads(run("status", capture.name, "--json").stdout)
    assert (row["state"], row["tasks"]) == ("RUNNING", [{"id": 0, "state": "RUNNING"}])
    assert row["position"].startswith("binlog.")
    assert capture.name in run("status").output
    assert json.loads(run("offsets", "show", capture.name, "--json").stdout)[0]["offset"]["file"]
    assert "file: binlog." in run("offsets", "show", capture.name).output

    run("pause", capture.name)
    until(lambda: capture.state() is State.PAUSED, "it pauses")
    run("resume", capture.name)
    until(lambda: capture.state() is State.RUNNING, "it resumes")
    assert run("restart", capture.name, "--all").exit_code == 0

    assert run("offsets", "reset", capture.name).exit_code != 0  # without --yes
    assert run("delete", capture.name).exit_code != 0
    assert capture.state() is not None
    assert "forgotten" in run("offsets", "reset", capture.name, "--yes").output

    capture.sql("ALTER USER @@ IDENTIFIED BY 'changed'")
    assert run("preflight", path).exit_code == 75
    capture.connect.restart(capture.name, only_failed=False)
    status = capture.connect.status
    until(lambda: (s := status(capture.name)) and s.failed, "it fails")
    assert "Access denied" in run("status").output
    assert "deleted" in run("delete", capture.name, "--yes").output
    assert run("status", capture.name).exit_code != 0

    secrets = [v for k, v in capture.environ.items() if k.endswith("_PASSWORD") and v]
    assert len(secrets) >= 3
    assert not [secret for secret in secrets if any(secret in said for said in run.said)]
