"""What a NameNode may answer, beside what the store laws see of a real one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier

import httpx
import pytest
from pydantic import SecretStr

from callsheet.errors import CallsheetError, ConfigError, FatalError, RetryableError
from sinks.hive.stores.port import LostFileError
from sinks.hive.stores.webhdfs import HdfsStore

Answer = Callable[[httpx.Request], httpx.Response]


def told(name: str, status: int = 403) -> httpx.Response:
    fault = {"exception": name, "message": f"{name}: said the server\n\tat java.lang"}
    return httpx.Response(status, json={"RemoteException": fault})


def a_store(answer: Answer) -> HdfsStore:
    return HdfsStore(
        ["http://one:9870", "http://two:9870"],
        "/audit",
        delegation_token=SecretStr("s3cret"),
        transport=httpx.MockTransport(answer),
    )


def test_the_active_namenode_is_found_and_stayed_with() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host == "one":
            return told("StandbyException")
        return httpx.Response(200, json={"FileStatus": {"length": 5}})

    store = a_store(answer)
    assert (store.size("a"), store.size("b")) == (5, 5)
    assert asked == ["one", "two", "two"]


def test_calls_that_find_the_same_namenode_away_do_not_push_one_another_past_the_other() -> None:
    all_have_asked = Barrier(4)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "one":
            all_have_asked.wait(5)
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, json={"FileStatus": {"length": 5}})

    store = a_store(answer)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(store.size, "abcd")) == [5, 5, 5, 5]


def test_two_that_are_away_are_trouble_that_may_pass() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(RetryableError, match="HDFS at two:9870 does not answer: ConnectError"):
        a_store(answer).size("a")


@pytest.mark.parametrize("name", ["AccessControlException", "SecurityException", "InvalidToken"])
def test_a_refusal_is_for_a_human_and_shows_no_secret(name: str) -> None:
    store = a_store(lambda _: told(name))
    with pytest.raises(FatalError, match="is not allowed") as caught:
        store.read("a")
    assert "s3cret" not in str(caught.value) + caught.value.hint
    with pytest.raises(ConfigError, match="is not allowed"):
        store.check()


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_breaks_is_tried_again(status: int) -> None:
    with pytest.raises(RetryableError, match="cannot serve us now") as caught:
        a_store(lambda _: httpx.Response(status)).read("a")
    assert caught.value.hint


def test_safe_mode_passes() -> None:
    with pytest.raises(RetryableError, match="SafeModeException: said the server"):
        a_store(lambda _: told("SafeModeException")).remove("a")


def a_rename(there: set[str]) -> Answer:
    """RENAME finds nothing; of the files only these are there."""

    def answer(request: httpx.Request) -> httpx.Response:
        match request.url.params["op"]:
            case "RENAME":
                return told("FileNotFoundException", 404)
            case "GETFILESTATUS" if request.url.path.rsplit("/", 1)[1] in there:
                return httpx.Response(200, json={"FileStatus": {"length": 1}})
            case "GETFILESTATUS":
                return told("FileNotFoundException", 404)
            case _:
                return httpx.Response(200, json={"boolean": True})

    return answer


def test_a_rename_that_finds_nothing_asks_why() -> None:
    a_store(a_rename({"target"})).move("source", "table/target")
    with pytest.raises(LostFileError):
        a_store(a_rename(set())).move("source", "table/target")
    with pytest.raises(RetryableError, match="renaming"):
        a_store(a_rename({"source"})).move("source", "table/target")


@dataclass
class Cluster:
    """Two steps of writing, a rename and a removal; each fails as it is told to."""

    sending: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(201)
    renaming: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(200)
    removing: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(200)
    there: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rsplit("/", 1)[1]
        if request.url.host == "datanode":
            self.there.add(name)  # a write that fails may have begun
            return self.sending(request)
        operation = request.url.params["op"]
        self.asked.append(operation)
        match operation:
            case "CREATE":
                place = f"http://datanode:9864{request.url.path}"
                return httpx.Response(200, json={"Location": place})
            case "RENAME":
                answer = self.renaming(request)
                if answer.is_success:
                    self.there.remove(name)
                    self.there.add(request.url.params["destination"].rsplit("/", 1)[1])
                return answer
            case "DELETE":
                answer = self.removing(request)
                if answer.is_success:
                    self.there.discard(name)
                return answer
            case _:
                return httpx.Response(200, json={"boolean": True})


def away(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("no answer", request=request)


def failing(name: str) -> Answer:
    return lambda _: told(name)


def write(store: HdfsStore, how: str) -> None:
    if how == "create":
        store.create("t/a", b"x")
    else:
        store.replace("t/a", b"x")


@pytest.mark.parametrize("how", ["create", "replace"])
@pytest.mark.parametrize(
    ("step", "answer", "error"),
    [
        ("sending", failing("DSQuotaExceededException"), "DSQuotaExceededException"),
        ("sending", away, "does not answer: ReadTimeout"),
        ("renaming", failing("SafeModeException"), "SafeModeException"),
        ("renaming", failing("AccessControlException"), "is not allowed"),
        ("renaming", lambda _: httpx.Response(503), "cannot serve us now"),
    ],
)
def test_what_was_written_aside_is_removed_when_it_fails(
    step: str, answer: Answer, error: str, how: str
) -> None:
    cluster = Cluster()
    setattr(cluster, step, answer)
    with pytest.raises(CallsheetError, match=error):
        write(a_store(cluster), how)
    assert (cluster.there, cluster.asked[-1]) == (set(), "DELETE")


@pytest.mark.parametrize("how", ["create", "replace"])
def test_a_removal_that_fails_too_hides_no_error(how: str) -> None:
    for removing in (away, failing("AccessControlException")):
        cluster = Cluster(renaming=failing("SafeModeException"), removing=removing)
        with pytest.raises(RetryableError, match="SafeModeException"):
            write(a_store(cluster), how)
        assert len(cluster.there) == 1


def test_a_namenode_that_is_away_is_not_asked_to_remove_what_was_never_written() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["op"])
        return away(request) if asked[-1] == "CREATE" else httpx.Response(200)

    with pytest.raises(RetryableError):
        a_store(answer).replace("t/a", b"x")
    assert asked == ["MKDIRS", "CREATE", "CREATE"]


def test_a_name_that_is_taken_leaves_nothing_aside() -> None:
    cluster = Cluster(renaming=failing("FileAlreadyExistsException"))
    assert a_store(cluster).create("t/a", b"x") is False
    assert cluster.there == set()
    free = Cluster()
    assert a_store(free).create("t/a", b"x") is True
    assert (free.there, "DELETE" in free.asked) == ({"a"}, False)
