from __future__ import annotations

from tests.support.elastic_real import client, opened, place

__all__ = ["client", "opened", "place"]
