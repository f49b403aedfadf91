"""Metrics of several processes as one page: snapshots come in, one collector gives them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

_GROWING = frozenset({"counter", "histogram", "summary"})


@dataclass(frozen=True, slots=True)
class SampleSnapshot:
    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class FamilySnapshot:
    name: str
    text: str
    kind: str
    samples: list[SampleSnapshot]


def snapshot(collectors: Iterable[Collector]) -> list[FamilySnapshot]:
    """Metrics as they are now, plain enough to travel to another process."""
    return [
        FamilySnapshot(
            family.name,
            family.documentation,
            family.type,
            [
                SampleSnapshot(s.name, dict(s.labels), s.value)
                for s in family.samples
                if not s.name.endswith("_created")
            ],
        )
        for collector in collectors
        for family in collector.collect()
    ]


def balanced(
    families: Sequence[FamilySnapshot], balance: Sequence[FamilySnapshot]
) -> list[FamilySnapshot]:
    """All of them, those of the balance as it has them: the loop moves one after the other, and
    read from another thread in between they would not add up.
    """
    taken = {family.name for family in balance}
    return [*(family for family in families if family.name not in taken), *balance]


_SampleKey = tuple[str, tuple[tuple[str, str], ...]]


class Relay(Collector):
    """The metrics of all workers, each with its ``pipeline`` and ``worker`` as labels.

    A counter never goes backwards, although a worker that is started again counts from zero: what
    its predecessors counted is added. Gauges end with the process that set them.
    """

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str], list[FamilySnapshot]] = {}
        self._before: dict[tuple[str, str], dict[_SampleKey, float]] = {}
        self._past: dict[tuple[str, str], dict[str, FamilySnapshot]] = {}

    def heard(self, pipeline: str, worker: int, families: list[FamilySnapshot]) -> None:
        self._latest[pipeline, str(worker)] = families

    def ended(self, pipeline: str, worker: int) -> None:
        """The process is gone: keep what it counted."""
        slot = (pipeline, str(worker))
        before = dict(self._before.get(slot, {}))
        past = dict(self._past.get(slot, {}))
        for family in self._latest.pop(slot, []):
            if family.kind in _GROWING:
                past[family.name] = family
                for sample in family.samples:
                    key = _key(sample)
                    before[key] = before.get(key, 0.0) + sample.value
        # Replaced, not changed: a scrape in another thread may be reading the old ones.
        self._before[slot], self._past[slot] = before, past

    def collect(self) -> Iterator[Metric]:
        merged: dict[str, Metric] = {}
        for slot in sorted({*self._latest, *self._past}):
            labels = {"pipeline": slot[0], "worker": slot[1]}
            before = dict(self._before.get(slot, {}))
            for family in self._latest.get(slot, []):
                _add(merged, family, labels, before)
            for family in self._past.get(slot, {}).values():
                _add_past(merged, family, labels, before)
        yield from merged.values()


def _key(sample: SampleSnapshot) -> _SampleKey:
    return sample.name, tuple(sorted(sample.labels.items()))


def _metric(merged: dict[str, Metric], family: FamilySnapshot) -> Metric:
    return merged.setdefault(family.name, Metric(family.name, family.text, family.kind))


def _add(
    merged: dict[str, Metric],
    family: FamilySnapshot,
    labels: Mapping[str, str],
    before: dict[_SampleKey, float],
) -> None:
    metric = _metric(merged, family)
    for sample in family.samples:
        past = before.pop(_key(sample), 0.0)
        metric.add_sample(sample.name, {**labels, **sample.labels}, sample.value + past)


def _add_past(
    merged: dict[str, Metric],
    family: FamilySnapshot,
    labels: Mapping[str, str],
    before: dict[_SampleKey, float],
) -> None:
    """What only predecessors counted: a series must not vanish because the new process has not
    met that label yet.
    """
    left: Iterable[SampleSnapshot] = [s for s in family.samples if _key(s) in before]
    for sample in left:
        metric = _metric(merged, family)
        metric.add_sample(sample.name, {**labels, **sample.labels}, before.pop(_key(sample)))
