"""A typed client for Kafka Connect's REST API.

Every call returns or raises before its deadline. Calls that may be repeated without harm are,
with full jitter, while the group rebalances (409), the worker is busy or the connection fails.
Errors arrive as `callsheet.errors`; nothing raised here carries a configuration's values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Self
from urllib.parse import quote

import httpx

from callsheet.absence import absence
from callsheet.backoff import Backoff
from callsheet.errors import (
    ConfigError,
    FatalError,
    PreconditionError,
    UnavailableError,
    UsageError,
)
from callsheet.ports import Clock, Deadline, SystemClock
from connectors import responses as r
from connectors.masking import without_userinfo

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
_BACKOFF = Backoff(base_s=0.1, cap_s=3.0)
_REPEATABLE = frozenset({"GET", "PUT", "DELETE"})


class ConnectClient:
    """Speaks to one Connect cluster through any of its workers: they forward to the leader."""

    def __init__(  # noqa: PLR0913  (the outside world, injected)
        self,
        url: str,
        *,
        deadline_s: float = 90.0,
        redact: Callable[[str], str] = str,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        """``url`` may carry ``user:password@``. ``deadline_s`` bounds each call with its retries.

        ``redact`` cuts secrets out of whatever Connect says.

        Raises:
            UsageError: ``url`` is no address.
        """
        self._url = without_userinfo(url).rstrip("/")
        self._deadline_s = deadline_s
        self._redact = redact
        self._clock = clock or SystemClock()
        self._random = random or Random()  # noqa: S311  (jitter, no secret)
        try:
            self._http = httpx.Client(
                base_url=url,
                timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
                transport=transport,
                headers={"Accept": "application/json"},
            )
        except httpx.InvalidURL:  # its text quotes the part that is wrong: perhaps a password's
            raise UsageError(
                "CALLSHEET_CONNECT_URL is no address.",
                hint="It is http(s)://host:port; a user and password before it are URL-encoded.",
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # --- the worker -----------------------------------------------------------------------------

    def worker(self) -> r.Worker:
        body = self._json("GET", "/")
        return r.Worker(body["version"], body["commit"], body["kafka_cluster_id"])

    def plugins(self) -> tuple[r.Plugin, ...]:
        """Connectors, converters, transforms: whatever the worker found on its plugin path."""
        body = self._json("GET", "/connector-plugins", params={"connectorsOnly": "false"})
        return tuple(r.Plugin(p["class"], p["type"], p.get("version") or "") for p in body)

    def validate(self, name: str, config: Mapping[str, str]) -> r.Validation:
        """Let the plugin judge a configuration; it tries the database's address and user too.

        Raises:
            ConfigError: it could not be judged at all, as of an unknown class.
        """
        plugin = config["connector.class"]
        body = self._json(
            "PUT",
            f"/connector-plugins/{_path(plugin)}/config/validate",
            json={**config, "name": name},
        )
        return r.parse_validation(body, self._redact)

    # --- connectors -----------------------------------------------------------------------------

    def connectors(self) -> tuple[r.Connector, ...]:
        params = [("expand", "info"), ("expand", "status")]
        return r.parse_connectors(self._json("GET", "/connectors", params=params), self._redact)

    def config(self, name: str) -> dict[str, str] | None:
        """The configuration as stored, references unresolved; None if there is none."""
        body: dict[str, str] | None = self._json_or_none("GET", f"/connectors/{_path(name)}/config")
        return body

    def create_stopped(self, name: str, config: Mapping[str, str]) -> None:
        """Create it without running it, so that offsets left by an earlier one can be seen."""
        body = {"name": name, "config": dict(config), "initial_state": "STOPPED"}
        self._json("POST", "/connectors", json=body)

    def put_config(self, name: str, config: Mapping[str, str]) -> None:
        """Create or replace: what is not named goes. The same configuration again is harmless."""
        self._json("PUT", f"/connectors/{_path(name)}/config", json=dict(config))

    def delete(self, name: str) -> None:
        """Delete the connector; its offsets stay, so that one of the same name would go on."""
        self._json_or_none("DELETE", f"/connectors/{_path(name)}")

    def status(self, name: str) -> r.ConnectorStatus | None:
        body = self._json_or_none("GET", f"/connectors/{_path(name)}/status")
        return None if body is None else r.parse_status(body, self._redact)

    def pause(self, name: str) -> None:
        """Stop polling, keep the tasks and their connections."""
        self._json("PUT", f"/connectors/{_path(name)}/pause")

    def resume(self, name: str) -> None:
        self._json("PUT", f"/connectors/{_path(name)}/resume")

    def stop(self, name: str) -> None:
        """Shut the tasks down, keep the configuration; offsets may be changed only then."""
        self._json("PUT", f"/connectors/{_path(name)}/stop")

    def restart(self, name: str, *, include_tasks: bool = True, only_failed: bool = True) -> None:
        params = {"includeTasks": _flag(include_tasks), "onlyFailed": _flag(only_failed)}
        self._json("POST", f"/connectors/{_path(name)}/restart", params=params)

    def topics(self, name: str) -> tuple[str, ...]:
        """The topics it has written to since it was created."""
        body = self._json("GET", f"/connectors/{_path(name)}/topics")
        return tuple(sorted(body[name]["topics"]))

    # --- offsets --------------------------------------------------------------------------------

    def offsets(self, name: str) -> tuple[r.SourceOffset, ...]:
        """What it has committed; nothing for a connector that does not exist."""
        body = self._json_or_none("GET", f"/connectors/{_path(name)}/offsets")
        return () if body is None else r.parse_offsets(body)

    def alter_offsets(self, name: str, offsets: Sequence[r.SourceOffset]) -> None:
        """Replace the offsets named; the connector must be STOPPED."""
        body = {"offsets": [{"partition": o.partition, "offset": o.offset} for o in offsets]}
        self._json("PATCH", f"/connectors/{_path(name)}/offsets", json=body)

    def reset_offsets(self, name: str) -> None:
        """Forget all offsets; the connector must be STOPPED, and starts with a new snapshot."""
        self._json("DELETE", f"/connectors/{_path(name)}/offsets")

    # --- the wire -------------------------------------------------------------------------------

    def _json(self, method: str, path: str, **request: Any) -> Any:
        verdict, response = self._call(method, path, **request)
        if verdict is r.Verdict.OK:
            return self._decoded(response)
        raise self._error(verdict, response, method, path)

    def _json_or_none(self, method: str, path: str, **request: Any) -> Any:
        verdict, response = self._call(method, path, **request)
        if verdict is r.Verdict.MISSING:
            return None
        if verdict is r.Verdict.OK:
            return self._decoded(response)
        raise self._error(verdict, response, method, path)

    def _decoded(self, response: httpx.Response) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise UnavailableError(
                f"What answers at {self._url} is not Kafka Connect: it does not speak JSON.",
                hint="Check CALLSHEET_CONNECT_URL.",
            ) from error

    def _call(self, method: str, path: str, **request: Any) -> tuple[r.Verdict, httpx.Response]:
        """One call with its retries: the last verdict, or the last error of the connection."""
        deadline = Deadline.after(self._clock, self._deadline_s)
        attempt = 0
        while True:
            wait_s = _BACKOFF.delay_s(attempt, self._random)
            last = deadline.remaining_s() <= wait_s
            try:
                response = self._http.request(method, path, timeout=_timeout(deadline), **request)
            except httpx.TransportError as error:
                if last or not _may_repeat(method, error):
                    raise self._unreachable(error) from error
            else:
                verdict = r.classify(response.status_code, _message(response))
                if last or not _is_passing(method, verdict):
                    return verdict, response
            self._clock.sleep(wait_s)
            attempt += 1

    def _unreachable(self, error: httpx.TransportError) -> UnavailableError:
        return UnavailableError(
            f"Kafka Connect at {self._url} does not answer: {absence(error)}.",
            hint="Is it up (`callsheet stack status`)? Its address is CALLSHEET_CONNECT_URL.",
        )

    def _error(
        self, verdict: r.Verdict, response: httpx.Response, method: str, path: str
    ) -> Exception:
        said = self._redact(_message(response)) or response.reason_phrase
        call = f"{method} {path}"
        match verdict:
            case r.Verdict.REBALANCING | r.Verdict.BUSY:
                return UnavailableError(
                    f"Kafka Connect was still busy after {self._deadline_s:.0f} s "
                    f"({call}: {response.status_code}).",
                    hint="A worker may be dead but alive: `callsheet stack status`; try again.",
                )
            case r.Verdict.MISSING:
                return PreconditionError(
                    f"Kafka Connect knows no such thing: {said} ({call}).",
                    hint="`callsheet connectors status` lists what it knows.",
                )
            case r.Verdict.REFUSED:
                return ConfigError(f"Kafka Connect refused {call}: {said}")
            case r.Verdict.FORBIDDEN:
                return PreconditionError(
                    f"Kafka Connect at {self._url} refused these credentials "
                    f"({response.status_code}).",
                    hint="It asks for basic authentication: check the user and the password.",
                )
            case _:
                return FatalError(f"Kafka Connect failed at {call}: {said}")


def _may_repeat(method: str, error: httpx.TransportError) -> bool:
    """A call that never reached the server may be repeated whatever it would have done there."""
    never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return never_sent or method in _REPEATABLE


def _is_passing(method: str, verdict: r.Verdict) -> bool:
    if verdict is r.Verdict.BUSY:
        return method in _REPEATABLE
    return verdict is r.Verdict.REBALANCING


def _timeout(deadline: Deadline) -> httpx.Timeout:
    left_s = max(0.05, deadline.remaining_s())  # zero would mean "at once", not "the last try"
    return httpx.Timeout(min(READ_TIMEOUT_S, left_s), connect=min(CONNECT_TIMEOUT_S, left_s))


def _message(response: httpx.Response) -> str:
    """Connect's own words; a proxy in between answers in HTML, of which nothing is kept."""
    if "json" not in response.headers.get("content-type", ""):
        return ""
    try:
        body = response.json()
    except ValueError:
        return ""
    return str(body.get("message", "")) if isinstance(body, dict) else ""


def _path(name: str) -> str:
    return quote(name, safe="")


def _flag(value: bool) -> str:  # noqa: FBT001  (the one thing it formats)
    return "true" if value else "false"
