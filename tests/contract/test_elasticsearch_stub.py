"""The sink laws on the Elasticsearch sink, against a server in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from callsheet.testing import Destination, SinkLaws
from tests.support.elastic import StubDestination
from tests.support.elastic_stub import ElasticStub


class TestElasticsearchSinkOnAStub(SinkLaws):
    @pytest.fixture
    def destination(self) -> Iterator[Destination]:
        with ElasticStub() as stub:
            yield StubDestination(stub)
            assert stub.shared_ids == set()
