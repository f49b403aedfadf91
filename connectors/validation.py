"""What Connect thinks of a connector file, as faults with lines."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from callsheet.errors import Fault
from connectors.files import ConnectorFile
from connectors.models import MysqlCapture
from connectors.responses import Validation

# Settings that belong to something inside the connector, or that name a table of the user's: no
# validation declares them.
_OPEN_PREFIXES = (
    "schema.history.internal.", "key.converter.", "value.converter.", "header.converter.",
    "producer.override.", "consumer.override.", "admin.override.", "transforms.", "predicates.",
    "driver.", "signal.", "notification.", "topic.", "column.", "internal.", "converters.",
    "snapshot.select.statement.overrides.",
)  # fmt: skip


def validation_faults(file: ConnectorFile, validation: Validation) -> Iterator[Fault]:
    """Connect's complaints by setting and line, and settings that nobody knows.

    Connect ignores an unknown setting, so a misspelt one silently keeps its default.
    """
    for setting, messages in sorted(validation.faults.items()):
        for message in messages:
            yield file.fault(setting, message)
    ours = {field.alias for field in MysqlCapture.model_fields.values() if field.alias}
    known = validation.known | ours | {"field.name.adjustment.mode"}
    for setting in file.config:
        if setting not in known and not setting.startswith(_OPEN_PREFIXES):
            similar = difflib.get_close_matches(setting, known, n=1)
            meant = f"; did you mean {similar[0]}?" if similar else ""
            yield file.fault(setting, f"is no setting of this connector{meant}")
