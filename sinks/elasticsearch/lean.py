"""Imports the Elasticsearch client without pyarrow.

The client imports it wherever it is installed, for answers in Arrow's format that we never ask for:
25 MB in every worker, and half a second of its start. Another sink may need pyarrow, so it stays
importable afterwards.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

_UNWANTED: Final = "pyarrow"


def import_client() -> None:
    """To be called before anything imports ``elasticsearch``; harmless when it comes too late."""
    if _UNWANTED in sys.modules or "elasticsearch" in sys.modules:
        return
    sys.modules[_UNWANTED] = None  # type: ignore[assignment]  # so an import fails, as documented
    try:
        importlib.import_module("elasticsearch")
    finally:
        del sys.modules[_UNWANTED]
