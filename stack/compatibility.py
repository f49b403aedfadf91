"""Schema evolution is checked from the first schema on: a fresh Apicurio checks nothing at all.

For the containers: `python -m stack.compatibility REGISTRY_URL`. The native stack does it itself.
"""

from __future__ import annotations

import sys

from callsheet.errors import CallsheetError
from stack.server import http

LEVEL = "BACKWARD"


def require_backward(registry_url: str) -> None:
    """Refuse a schema that cannot read what its predecessor wrote."""
    http("PUT", f"{registry_url}/config", body={"compatibility": LEVEL})


if __name__ == "__main__":
    try:
        require_backward(sys.argv[1])
    except CallsheetError as error:
        sys.exit(f"error: {error.message}")
