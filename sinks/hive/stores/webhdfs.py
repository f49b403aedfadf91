"""HDFS through WebHDFS: plain HTTP, so no Hadoop client, no JVM, no native library.

A file is whole and visible once its writer closed it, and WebHDFS answers only then. It has reached
as many DataNodes as ``dfs.namenode.replication.min`` says; that their disks have it as well takes
``dfs.datanode.synconclose=true`` on the cluster, which docs/hive.md asks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import SecretStr

from callsheet.errors import CallsheetError, ConfigError, FatalError, RetryableError
from sinks.hive.stores.port import LostFileError

_CHUNK_BYTES: Final = 1 << 20
_ASIDE: Final = ".callsheet-"
_STANDBY: Final = frozenset({"StandbyException", "RetriableException"})
_REFUSED: Final = frozenset(
    {"AccessControlException", "SecurityException", "AuthenticationException", "InvalidToken"}
)


class HdfsFault(Exception):  # noqa: N818 - not an error of ours: it is always caught in here
    """The server's own exception, by its Java name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message.splitlines()[0] if message else name


class HdfsStore:
    """One directory of an HDFS. ``namenodes``: all of an HA pair; the active one is found."""

    def __init__(  # noqa: PLR0913 - a setting each
        self,
        namenodes: Sequence[str],
        root: str,
        *,
        user: str | None = None,
        delegation_token: SecretStr | None = None,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._bases = [f"{node.rstrip('/')}/webhdfs/v1" for node in namenodes]
        self._active = 0
        self._root = PurePosixPath(root)
        self._made: set[str] = set()
        self._identity: dict[str, str] = {}
        if delegation_token is not None:
            self._identity = {"delegation": delegation_token.get_secret_value()}
        elif user is not None:
            self._identity = {"user.name": user}
        # trust_env off: a proxy of the environment has no business between us and the cluster.
        self._client = httpx.Client(
            trust_env=False,
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            transport=transport,
        )

    def check(self) -> None:
        probe = f"{_ASIDE}check-{uuid4().hex}"
        try:
            self.create(probe, b"")
            self.remove(probe)
        except FatalError as error:
            raise ConfigError(
                error.message, hint="correct sink.store (root, user, delegation_token)"
            ) from error

    def put(self, path: str, content: BinaryIO) -> None:
        self._make_folder(path)
        try:
            self._write(path, content)
        except HdfsFault as fault:
            raise self._error("writing", path, fault) from fault

    def create(self, path: str, data: bytes) -> bool:
        self._make_folder(path)
        try:
            # With options it is rename2, which is atomic and refuses a name that is taken; without
            # them it would answer `false` for that and for everything else.
            self._write_aside(path, data, options="NONE")
        except HdfsFault as fault:
            if fault.name != "FileAlreadyExistsException":
                raise self._error("creating", path, fault) from fault
            return False
        return True

    def replace(self, path: str, data: bytes) -> None:
        self._make_folder(path)
        try:
            self._write_aside(path, data, options="OVERWRITE")
        except HdfsFault as fault:
            raise self._error("writing", path, fault) from fault

    def move(self, source: str, target: str) -> None:
        self._make_folder(target)
        try:
            self._rename(source, target)
        except HdfsFault as fault:
            if fault.name == "FileAlreadyExistsException":
                self.remove(source)
            elif fault.name != "FileNotFoundException":
                raise self._error("renaming", source, fault) from fault
            elif self.size(target) is None:
                if self.size(source) is None:
                    raise LostFileError(target) from fault
                # The target's folder is gone: an old date was retired meanwhile.
                raise self._error("renaming", source, fault) from fault

    def read(self, path: str) -> bytes | None:
        try:
            return self._call("GET", path, "OPEN").content
        except HdfsFault as fault:
            if fault.name == "FileNotFoundException":
                return None
            raise self._error("reading", path, fault) from fault

    def size(self, path: str) -> int | None:
        try:
            status = self._call("GET", path, "GETFILESTATUS").json()["FileStatus"]
        except HdfsFault as fault:
            if fault.name == "FileNotFoundException":
                return None
            raise self._error("looking at", path, fault) from fault
        return int(status["length"])

    def names(self, folder: str, after: str = "") -> list[str]:
        found: list[str] = []
        start = after
        while True:
            try:
                answer = self._call("GET", folder, "LISTSTATUS_BATCH", startAfter=start).json()
            except HdfsFault as fault:
                if fault.name == "FileNotFoundException":
                    return []
                raise self._error("listing", folder, fault) from fault
            listing = answer["DirectoryListing"]
            page = listing["partialListing"]["FileStatuses"]["FileStatus"]
            found += [each["pathSuffix"] for each in page]
            if not listing["remainingEntries"] or not page:
                return sorted(n for n in found if n > after and not n.startswith(_ASIDE))
            start = found[-1]

    def remove(self, path: str) -> None:
        self._made.clear()  # a folder that we made may be in there
        try:
            self._call("DELETE", path, "DELETE", recursive="true")
        except HdfsFault as fault:
            if fault.name != "FileNotFoundException":
                raise self._error("removing", path, fault) from fault

    def close(self) -> None:
        self._client.close()

    # --- how ------------------------------------------------------------------------------------

    def _write(self, path: str, content: bytes | BinaryIO) -> None:
        """In two steps, because the body goes to a DataNode, which the NameNode names."""
        self._send("PUT", self._place(path), content=content)

    def _write_aside(self, path: str, data: bytes, options: str) -> None:
        """Under a name that no reader sees, and then renamed."""
        aside = str(PurePosixPath(path).with_name(f"{_ASIDE}{uuid4().hex}"))
        place = self._place(aside)  # makes no file yet: who gets no answer need not ask twice
        try:
            self._send("PUT", place, content=data)
            self._rename(aside, path, options)
        except Exception:
            # As no reader sees it, nobody would ever clear it away.
            with suppress(CallsheetError):
                self.remove(aside)
            raise

    def _place(self, path: str) -> str:
        """Where a file's content is to be sent."""
        answer = self._call("PUT", path, "CREATE", overwrite="true", noredirect="true")
        return str(answer.json()["Location"])

    def _rename(self, source: str, target: str, options: str = "NONE") -> None:
        destination = str(self._root / target)
        self._call("PUT", source, "RENAME", destination=destination, renameoptions=options)

    def _make_folder(self, path: str) -> None:
        folder = str(PurePosixPath(path).parent)
        if folder in self._made:
            return
        try:
            self._call("PUT", folder, "MKDIRS")
        except HdfsFault as fault:
            raise self._error("making", folder, fault) from fault
        self._made.add(folder)

    def _call(self, method: str, path: str, operation: str, **query: str) -> httpx.Response:
        """Ask the active NameNode; where one is on standby, or away, the next is asked."""
        parameters = {"op": operation, **query, **self._identity}
        trouble: CallsheetError | None = None
        # Each call goes round by itself: calls of several threads that find the same NameNode away
        # would otherwise push one another past the one that answers.
        first = self._active
        for turn in range(len(self._bases)):
            at = (first + turn) % len(self._bases)
            url = self._bases[at] + quote(str(self._root / path))
            try:
                answer = self._send(method, url, params=parameters)
            except RetryableError as error:
                trouble = error
                continue
            except HdfsFault:
                self._active = at  # it refuses, so it serves
                raise
            self._active = at
            return answer
        raise trouble or RetryableError(
            "HDFS has no NameNode", hint="list them in sink.store.namenodes"
        )

    def _send(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | BinaryIO | None = None,
    ) -> httpx.Response:
        body = content if content is None or isinstance(content, bytes) else _chunks(content)
        try:
            answer = self._client.request(
                method, url, params=params, content=body, follow_redirects=method == "GET"
            )
        except httpx.HTTPError as error:
            host = httpx.URL(url).netloc.decode()
            raise RetryableError(
                f"HDFS at {host} does not answer: {type(error).__name__}",
                hint="are the NameNode and the DataNodes up, and is WebHDFS on?",
            ) from error
        if answer.is_success:
            return answer
        fault = _fault(answer)
        if fault.name in _STANDBY or answer.status_code >= 500:
            raise RetryableError(
                f"HDFS cannot serve us now: {fault.name}",
                hint="is a NameNode active (`hdfs haadmin -getAllServiceState`)? It is tried again",
            ) from fault
        raise fault

    def _error(self, doing: str, path: str, fault: HdfsFault) -> CallsheetError:
        self._made.clear()  # one of them may be gone
        where = f"{doing} {self._root / path} on HDFS"
        if fault.name in _REFUSED:
            return FatalError(
                f"{where} is not allowed: {fault.name}",
                hint="give the audit's user the right to write there, or correct sink.store",
            )
        return RetryableError(
            f"{where} failed: {fault.name}: {fault.message}",
            hint="look at the NameNode: safe mode, quota, space?",
        )


def _chunks(content: BinaryIO) -> Iterator[bytes]:
    content.seek(0)
    while chunk := content.read(_CHUNK_BYTES):
        yield chunk


def _fault(answer: httpx.Response) -> HdfsFault:
    try:
        told: Mapping[str, Any] = answer.json()["RemoteException"]
        return HdfsFault(str(told["exception"]), str(told.get("message", "")))
    except (ValueError, KeyError, TypeError):
        if answer.status_code in {401, 403}:
            return HdfsFault("AccessControlException", f"HTTP {answer.status_code}")
        return HdfsFault(f"HTTP {answer.status_code}", answer.reason_phrase)
