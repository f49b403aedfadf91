"""What this Elasticsearch can do."""

from __future__ import annotations

from typing import Any, Final, get_args

from elastic_transport import ApiError
from elasticsearch import Elasticsearch

from callsheet.errors import FatalError
from sinks.elasticsearch.client import reason_of
from sinks.elasticsearch.settings import ServerType

OLDEST: Final = (9, 0)

_SAMPLES: Final[dict[str, dict[str, Any]]] = {
    "scaled_float": {"type": "scaled_float", "scaling_factor": 100},
    "unsigned_long": {"type": "unsigned_long"},
    "flattened": {"type": "flattened"},
    "geo_shape": {"type": "geo_shape"},
}


def check_version(client: Elasticsearch) -> str:
    """The server's version.

    Raises:
        FatalError: older than we can write to.
    """
    number = "before 9"
    try:
        number = str(client.info()["version"]["number"])
        parts = tuple(int(part) for part in number.split(".")[:2])
    except ApiError as error:
        if error.meta.status != 400:
            raise
        parts = (0, 0)  # it does not understand the media type of our major version
    if parts < OLDEST:
        raise FatalError(
            f"Elasticsearch {number} is too old: {OLDEST[0]}.{OLDEST[1]} is the oldest that works",
            hint="upgrade the cluster",
        )
    return number


def types(client: Elasticsearch) -> frozenset[str]:
    """Which of the optional field types the server has.

    It simulates an index template with a field of the type: the server checks the mapping as if for
    an index, and writes nothing.
    """
    return frozenset(name for name in get_args(ServerType) if _has(client, name))


def _has(client: Elasticsearch, name: str) -> bool:
    try:
        client.indices.simulate_template(
            index_patterns=[f"callsheet-has-{name}"],
            template={"mappings": {"properties": {"field": _SAMPLES[name]}}},
        )
    except ApiError as error:
        if error.meta.status == 400:
            return False
        if error.meta.status == 403:
            raise FatalError(
                f"Elasticsearch does not let us ask for its field types: {reason_of(error)}",
                hint="grant the cluster privilege manage_index_templates, or name the types in "
                "sink.server_types",
            ) from error
        raise
    return True
