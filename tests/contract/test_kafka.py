"""The sink laws on the Kafka sink, against a real broker and a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from callsheet.errors import Reason
from callsheet.testing import Destination, SinkLaws
from tests.support.batches import a_schema
from tests.support.downstream import DownstreamDestination
from tests.support.kafka_proxy import KafkaProxy


class KafkaLaws(SinkLaws):
    mode = ""
    refusal = Reason.OVERSIZE

    @pytest.fixture
    def destination(self, stack_env: dict[str, str]) -> Iterator[Destination]:
        address = stack_env["CALLSHEET_KAFKA_BOOTSTRAP"]
        host, _, port = address.rpartition(":")
        with KafkaProxy((host, int(port))) as proxy:
            destination = DownstreamDestination(
                address,
                stack_env["CALLSHEET_REGISTRY_URL"],
                proxy,
                self.mode,
                a_schema(table=f"laws_{uuid4().hex[:12]}"),
            )
            # Offsets are committed only for topics that there are.
            source = f"studio.finance.{destination.schema.table}"
            admin = AdminClient({"bootstrap.servers": address})
            admin.create_topics([NewTopic(source, 3, 1)])[source].result(30)
            yield destination
        for sink in destination.made:
            sink.close()
        wait(admin.delete_topics([destination.topic, source]).values(), 30)


class TestKafkaLog(KafkaLaws):
    mode = "log"
    keeps_changes = True


class TestKafkaLatest(KafkaLaws):
    mode = "latest"
