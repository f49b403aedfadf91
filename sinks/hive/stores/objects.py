"""S3 and what speaks like it.

There is no rename: :meth:`ObjectStore.move` copies within the store, which makes the target appear
whole, and then deletes the source. :meth:`ObjectStore.create` is a conditional write
(``If-None-Match: *``), which S3, MinIO, Ceph and R2 have; a store without it must not be used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO, Final
from uuid import uuid4

import obstore
from obstore import exceptions
from obstore.store import MemoryStore, S3Store

from callsheet.errors import ConfigError, FatalError, RetryableError
from sinks.hive.stores.port import LostFileError

_REFUSED: Final = (
    exceptions.PermissionDeniedError,
    exceptions.UnauthenticatedError,
    exceptions.UnknownConfigurationKeyError,
    exceptions.NotSupportedError,
    exceptions.InvalidPathError,
)


class ObjectStore:
    """A prefix of one bucket. ``client`` has the bucket, its credentials and its retries."""

    def __init__(self, client: S3Store | MemoryStore, prefix: str = "") -> None:
        self._client, self._prefix = client, PurePosixPath(prefix.strip("/"))

    def check(self) -> None:
        probe = f"_callsheet/check-{uuid4().hex}"
        try:
            is_new = self.create(probe, b"1")
            is_twice = self.create(probe, b"2")
            self.remove(probe)
        except FatalError as error:
            raise ConfigError(
                error.message, hint="correct sink.store (bucket, endpoint, region, keys)"
            ) from error
        if not is_new or is_twice:
            raise ConfigError(
                "the object store ignores conditional writes (If-None-Match), which alone keep two "
                "writers apart",
                hint="use S3, or a version of your store that has them",
            )

    def put(self, path: str, content: BinaryIO) -> None:
        content.seek(0)
        with _told("writing", path):
            obstore.put(self._client, self._key(path), content)

    def create(self, path: str, data: bytes) -> bool:
        with _told("creating", path):
            try:
                obstore.put(self._client, self._key(path), data, mode="create")
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return False
        return True

    def replace(self, path: str, data: bytes) -> None:
        with _told("writing", path):
            obstore.put(self._client, self._key(path), data)

    def move(self, source: str, target: str) -> None:
        with _told("moving", source):
            try:
                obstore.copy(self._client, self._key(source), self._key(target))
            except FileNotFoundError:
                if self.size(target) is None:
                    raise LostFileError(target) from None
                return
            obstore.delete(self._client, self._key(source))

    def read(self, path: str) -> bytes | None:
        with _told("reading", path):
            try:
                return bytes(obstore.get(self._client, self._key(path)).bytes())
            except FileNotFoundError:
                return None

    def size(self, path: str) -> int | None:
        with _told("looking at", path):
            try:
                return obstore.head(self._client, self._key(path))["size"]
            except FileNotFoundError:
                return None

    def names(self, folder: str, after: str = "") -> list[str]:
        key = self._key(folder)
        found: set[str] = set()
        with _told("listing", folder):
            offset = f"{key}/{after}" if after else None
            for page in obstore.list(self._client, f"{key}/", offset=offset):
                for each in page:
                    rest = each["path"].removeprefix(f"{key}/")
                    found.add(rest.split("/", 1)[0])
        return sorted(name for name in found if name > after)

    def remove(self, path: str) -> None:
        key = self._key(path)
        with _told("removing", path):
            inside = [
                each["path"] for page in obstore.list(self._client, f"{key}/") for each in page
            ]
            for each in [*inside, key]:
                try:
                    obstore.delete(self._client, each)
                except FileNotFoundError:
                    continue

    def close(self) -> None:
        """The client closes its connections by itself."""

    def _key(self, path: str) -> str:
        return str(self._prefix / path)


@contextmanager
def _told(doing: str, path: str) -> Iterator[None]:
    try:
        yield
    except _REFUSED as error:
        raise FatalError(
            f"{doing} {path} in the object store is refused: {type(error).__name__}",
            hint="look at the bucket's policy and at the keys in sink.store",
        ) from error
    except exceptions.BaseError as error:
        raise RetryableError(
            f"{doing} {path} in the object store failed: {type(error).__name__}",
            hint="is the endpoint reachable?",
        ) from error
