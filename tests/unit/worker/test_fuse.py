from __future__ import annotations

import pytest

from callsheet.errors import FatalError
from callsheet.fuse import Fuse, FuseRating


def test_a_run_of_letters_blows_it() -> None:
    fuse = Fuse(FuseRating(run_events=3, minimum_letters=1_000))
    fuse.consumed(100)
    for _ in range(3):
        fuse.letter()
    with pytest.raises(FatalError, match="4 records in a row"):
        fuse.letter()


def test_a_good_record_ends_the_run() -> None:
    fuse = Fuse(FuseRating(run_events=3, minimum_letters=1_000))
    fuse.consumed(100)
    for _ in range(20):
        fuse.letter()
        fuse.delivered(1)
    fuse.delivered(0)  # nothing delivered ends nothing
    for _ in range(3):
        fuse.letter()
    fuse.delivered(0)
    with pytest.raises(FatalError):
        fuse.letter()


def test_a_share_of_the_last_records_blows_it_once_there_are_enough() -> None:
    fuse = Fuse(FuseRating(run_events=1_000, ratio=0.1, window_events=1_000, minimum_letters=20))
    fuse.consumed(100)
    for _ in range(19):
        fuse.letter()  # 19 %, but too few to say anything
    with pytest.raises(FatalError, match="20% of the last 100"):
        fuse.letter()


def test_what_lies_behind_the_window_is_forgotten() -> None:
    fuse = Fuse(FuseRating(run_events=1_000, ratio=0.1, window_events=1_000, minimum_letters=20))
    for _ in range(100):
        fuse.consumed(500)
        for _ in range(15):
            fuse.letter()  # 3 %, for ever
        fuse.delivered(485)
    fuse.consumed(500)
    fuse.consumed(1_000)
    for _ in range(50):
        fuse.letter()
