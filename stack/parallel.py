"""Doing things at the same time, each after those that it needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from callsheet.errors import CallsheetError

_POLL_S = 0.2


class NotTriedError(CallsheetError):
    """Something that it needs failed."""


def run_in_order(
    needs: Mapping[str, Sequence[str]], work: Callable[[str, threading.Event], None]
) -> None:
    """Call ``work(name, cancelled)`` for every name, each once all it needs is done.

    A failure does not end the others, except those that need it; the first one is raised at the
    end. Ctrl-C sets ``cancelled``, waits for every call to return, and is raised then.
    """
    if not needs:
        return
    cancelled = threading.Event()
    futures: dict[str, Future[None]] = {}
    submitted = threading.Event()

    def one(name: str) -> None:
        submitted.wait()
        for other in needs[name]:
            if futures[other].exception() is not None:
                raise NotTriedError(f"{name} was not started, since {other} was not.")
        work(name, cancelled)

    with ThreadPoolExecutor(max_workers=len(needs)) as pool:
        try:
            for name in needs:
                futures[name] = pool.submit(one, name)
            submitted.set()
            while wait(futures.values(), timeout=_POLL_S).not_done:
                pass
        except BaseException:
            cancelled.set()
            submitted.set()
            raise
    _raise_first(futures)


def _raise_first(futures: Mapping[str, Future[None]]) -> None:
    errors = [error for each in futures.values() if (error := each.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, NotTriedError)):
        raise error
