"""What the audit needs of a filesystem, and no more, so that an object store can give it too."""

from __future__ import annotations

from typing import BinaryIO, Protocol

from callsheet.errors import FatalError


class Store(Protocol):
    """Paths are relative to the store's root, with ``/`` between their parts.

    Every method that writes returns only when the write survives a crash of the machine (what each
    store can promise there is said in its own module), and may be called again after an error: it
    then finishes what was begun. Trouble that may pass is a ``RetryableError``; what a human must
    mend (rights, credentials) is a ``FatalError``.
    """

    def check(self) -> None:
        """The root is there, or can be made, and we may write to it.

        Raises:
            RetryableError: it is away.
            ConfigError: it is not what the settings say, or refuses us.
        """
        ...

    def put(self, path: str, content: BinaryIO) -> None:
        """The whole of ``content``, from its beginning; replaces what is there."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """All of ``data`` under a name that nothing has yet, in one atomic step: of two writers
        one gets True. False changes nothing.
        """
        ...

    def replace(self, path: str, data: bytes) -> None:
        """A small file, new or not; a reader may find the old one, the new one, or none."""
        ...

    def move(self, source: str, target: str) -> None:
        """``target`` appears whole, in one atomic step, and ``source`` is gone. Done already is
        done: ``target`` there and ``source`` not.

        Raises:
            LostFileError: neither is there.
        """
        ...

    def read(self, path: str) -> bytes | None:
        """A small file's content; None: there is none."""
        ...

    def size(self, path: str) -> int | None:
        """In bytes; None: there is no such file."""
        ...

    def names(self, folder: str, after: str = "") -> list[str]:
        """Names of what is directly in a folder, those that sort after ``after``, sorted. Empty
        where there is no such folder.
        """
        ...

    def remove(self, path: str) -> None:
        """A file, or a folder with all that is in it; nothing there is fine."""
        ...

    def close(self) -> None: ...


class LostFileError(FatalError):
    """A file that a manifest names is nowhere."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the audit's file {path} is gone",
            hint="restore it from a backup, or rebuild its range from Kafka (docs/hive.md)",
        )
