"""`callsheet offsets` of a pipeline whose topics do not exist."""

from __future__ import annotations

import io

from rich.console import Console

from callsheet.cli import offsets as module
from callsheet.kafka.groups import GroupState


def test_no_topic_is_no_lag_of_zero() -> None:
    group = GroupState("callsheet-search", "dead", ())
    out = io.StringIO()
    module._render(Console(file=out), group, [])
    assert out.getvalue() == "callsheet-search: none of its topics exists yet\n"
    assert module._as_data(group, [])["lag"] is None
