"""What a dry run shows: the operations as they would travel, without a server."""

from __future__ import annotations

import json

from callsheet.ports import SystemClock
from callsheet.sink import Previewing, SinkContext
from sinks.elasticsearch import PLUGIN
from sinks.elasticsearch.sink import ElasticsearchSink
from tests.support.batches import a_batch, delete, upsert


def a_sink() -> ElasticsearchSink:
    settings = PLUGIN.settings.model_validate({"hosts": ["http://127.0.0.1:1"]})
    sink = PLUGIN.build(settings, SinkContext("search", SystemClock()))
    assert isinstance(sink, ElasticsearchSink)
    return sink


def test_each_operation_is_one_line_in_log_order() -> None:
    rows = [upsert(1, name='a "quoted"\nname'), upsert(2, name="b"), delete(1)]
    sink = a_sink()

    lines = [json.loads(line) for line in sink.preview(a_batch(rows))]

    assert isinstance(sink, Previewing)
    assert [(line["index"]["_id"], line["index"]["version"]) for line in lines] == [
        ("2", 2),
        ("1", 3),
    ]
    assert lines[0]["document"]["name"] == "b"
    assert lines[1]["document"]["_callsheet"]["deleted"] is True


def test_a_value_with_a_line_break_stays_one_line() -> None:
    [line] = a_sink().preview(a_batch([upsert(1, name='a "quoted"\nname')]))

    assert json.loads(line)["document"]["name"] == 'a "quoted"\nname'
