"""The laws of :class:`callsheet.sink.Sink`, as tests that every sink inherits."""

from __future__ import annotations

from callsheet.testing.laws.durable import DurableLaws
from callsheet.testing.laws.order import OrderLaws
from callsheet.testing.laws.trouble import TroubleLaws

__all__ = ["SinkLaws"]


class SinkLaws(DurableLaws, OrderLaws, TroubleLaws):
    """All of them. A sink's own test class states how it differs (``keeps_changes``,
    ``refusal``), gives the fixture ``destination``, and adds what only this sink promises.
    """
