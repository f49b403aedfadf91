"""One connector, seen through Connect, Kafka and MySQL at once."""

from __future__ import annotations

from callsheet.errors import UnavailableError
from connectors.client import ConnectClient
from connectors.files import ConnectorFile
from connectors.progress import BinlogPosition, measure
from connectors.source import Source
from connectors.supervisor import Action, Observation
from connectors.topics import TopicAdmin, load_topics


class ConnectorWatch:
    """Observes and restarts what one connector file describes."""

    def __init__(
        self, file: ConnectorFile, connect: ConnectClient, topics: TopicAdmin, source: Source
    ) -> None:
        self._name = file.name
        self._topic_names = [topic.name for topic in load_topics(file)]
        self._connect, self._topics, self._source = connect, topics, source

    @property
    def name(self) -> str:
        return self._name

    def observe(self) -> Observation:
        ends = self._topics.end_offsets(self._topic_names)
        return Observation(
            status=self._connect.status(self._name),
            progress=measure(self._connect.offsets(self._name), ends),
            source=self._position(),
        )

    def restart(self, action: Action) -> None:
        self._connect.restart(self._name, only_failed=action is Action.RESTART_FAILED)

    def _position(self) -> BinlogPosition | None:
        try:
            return self._source.position()
        except UnavailableError:
            return None  # an answer too: the source is away, which no restart mends
