"""Kafka bytes to batches, and to events row by row.

::

    debezium.py        sorts a poll, decodes each group, isolates poison
      binding.py         Avro or JSON: signatures, shapes, raw values
        avro.py json.py    one raw value, carefully
        schema_registry.py declared.py   where schemas come from
      table.py           what is known of one table
      envelope.py        the rules of a change envelope; the row path
        fields.py values.py    columns: wire form -> kind, value by value
      columnar.py        many records at once, through the native decoder
      frames.py events.py    rows -> columns, columns -> events
    normalized.py      Callsheet's own event, for downstream topics
"""

from __future__ import annotations
