"""Field rules between decoder and sink: no sink knows that there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from callsheet.batch import Batch, Decoded, Message, Park, Poison
from callsheet.config.fields import FieldSettings
from callsheet.fields.projection import Projections, UnfitRulesError
from callsheet.ports import Decoder
from callsheet.undelivered import restrict

FIELD_RULES: Final = "field_rules"
"""Why a table is parked whose schema its rules do not fit."""


def with_rules(decoder: Decoder, settings: FieldSettings) -> Decoder:
    """The decoder itself where there is no rule."""
    return RuledDecoder(decoder, settings) if settings.tables else decoder


class RuledDecoder:
    """Implements :class:`callsheet.ports.Decoder`. The raw messages stay as they are: a dead letter
    needs the bytes.
    """

    def __init__(self, decoder: Decoder, settings: FieldSettings) -> None:
        self._decoder, self._projections = decoder, Projections(settings)

    def decode(self, messages: Sequence[Message]) -> Decoded:
        """See :class:`callsheet.ports.Decoder`."""
        decoded = self._decoder.decode(messages)
        parks = self._parks(decoded.batches)
        if parks:
            # Of a parked topic nothing may be counted, and only the decoder knows what it skipped.
            decoded = self._decoder.decode([m for m in messages if m.topic() not in parks])
        batches: list[Batch] = []
        poison = list(decoded.poison)
        for batch in decoded.batches:
            ruled = self._ruled(batch, poison)
            if ruled is not None:
                batches.append(ruled)
        parked = [*decoded.parked, *parks.values()]
        return replace(decoded, batches=batches, poison=poison, parked=parked)

    def _parks(self, batches: Sequence[Batch]) -> dict[str, Park]:
        parks: dict[str, Park] = {}
        for batch in batches:
            try:
                self._projections.of(batch)
            except UnfitRulesError as fault:
                parks.setdefault(batch.topic, Park(batch.topic, FIELD_RULES, str(fault)))
        return parks

    def _ruled(self, batch: Batch, poison: list[Poison]) -> Batch | None:
        """The batch under its rules; rows that do not fit them go to ``poison``."""
        projection = self._projections.of(batch)
        if projection is None:
            return batch
        frame = projection.frame(batch.frame)
        misfits = projection.misfits(batch.frame, frame)
        ruled = replace(batch, schema=projection.schema, columns=frame)
        if not misfits:
            return ruled
        lost = [Poison(batch.messages[m.index], m.reason, m.detail) for m in misfits]
        poison += lost
        gone = {(p.message.partition(), p.message.offset()) for p in lost}
        return restrict(ruled, lambda m: (m.partition(), m.offset()) not in gone)
