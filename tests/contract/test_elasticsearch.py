"""The sink laws on the Elasticsearch sink, against the real server."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from elasticsearch import Elasticsearch

from callsheet.testing import Destination, SinkLaws
from tests.support.elastic import RealDestination
from tests.support.tcp_proxy import TcpProxy


class TestElasticsearchSink(SinkLaws):
    @pytest.fixture
    def destination(self, stack_env: dict[str, str]) -> Iterator[Destination]:
        url = stack_env["CALLSHEET_ELASTICSEARCH_URL"]
        address = urlsplit(url)
        with (
            Elasticsearch(url) as client,
            TcpProxy((address.hostname or "", address.port or 0)) as proxy,
        ):
            destination = RealDestination(client, proxy, f"laws{uuid4().hex[:12]}")
            yield destination
            destination.remove()
