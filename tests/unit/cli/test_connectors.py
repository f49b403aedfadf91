"""`callsheet connectors` on a connector that Connect does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from callsheet.cli import connectors as module
from callsheet.errors import UsageError


class KnowsNone:
    """A Connect without connectors. It has no method that changes one, so a call would fail."""

    def config(self, _name: str) -> None:
        return None


@pytest.mark.parametrize(
    "command",
    [
        module.pause,
        module.resume,
        lambda name: module.restart(name, everything=False),
        lambda name: module.delete(name, yes=True),
        lambda name: module.show_offsets(name, json=False),
    ],
)
def test_an_unknown_connector_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, command: Callable[[str], None]
) -> None:
    @contextmanager
    def client(**_: float) -> Iterator[KnowsNone]:
        yield KnowsNone()

    monkeypatch.setattr(module, "client", client)
    with pytest.raises(UsageError, match="knows no connector 'nobody'") as raised:
        command("nobody")
    assert "callsheet connectors status" in raised.value.hint
