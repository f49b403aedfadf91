"""What a NameNode may answer, beside what the store laws see of a real one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import pytest
from pydantic import SecretStr

from callsheet.errors import ConfigError, FatalError, RetryableError
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
    with pytest.raises(RetryableError, match="cannot serve us now"):
        a_store(lambda _: httpx.Response(status)).read("a")


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
