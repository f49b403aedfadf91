"""Stand-ins for what the stack takes from its surroundings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stack.artifacts import MavenArtifact
from stack.command import CommandFailedError

Behaviour = Callable[[Sequence[str]], str]


@dataclass
class FakeCommand:
    """Records what would have been run; ``behaviour`` says what comes of it."""

    behaviour: Behaviour = lambda _argv: ""
    calls: list[list[str]] = field(default_factory=list)

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        tick: Callable[[], None] | None = None,
    ) -> str:
        self.calls.append(list(argv))
        if tick:
            tick()
        return self.behaviour(argv)


def failing(output: str) -> Behaviour:
    def fail(argv: Sequence[str]) -> str:
        raise CommandFailedError(argv[0], 1, output)

    return fail


@dataclass
class Told:
    """Progress that remembers."""

    said: list[str] = field(default_factory=list)
    advanced: list[tuple[str, int, int]] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)

    def say(self, message: str) -> None:
        self.said.append(message)

    def advance(self, task: str, done_bytes: int, total_bytes: int) -> None:
        self.advanced.append((task, done_bytes, total_bytes))

    def finish(self, task: str) -> None:
        self.finished.append(task)


@dataclass
class FakeClock:
    """Time that passes only by sleeping."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wall(self) -> float:
        return self.now


def an_artifact(coordinate: str, content: bytes) -> MavenArtifact:
    return MavenArtifact(coordinate, hashlib.sha256(content).hexdigest(), len(content))


def put(folder: Path, path: str, content: bytes = b"") -> Path:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target
