"""What happens to titles: dates move forth and back, titles come, go and get new numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Final

from finance import tables
from finance.ledger import budget_lines
from finance.simulate import change
from finance.simulate.change import Change
from finance.simulate.studio import Studio, Title

# Years that a YEAR column and a reader's patience hold, with room for all that depends on them.
_EARLIEST, _LATEST = date(1905, 1, 1), date(2099, 12, 31)
_DELAYS_DAYS: Final = (1, 7, 14, 28, 56, 91, 182, 364)
_DISTRIBUTORS: Final = ("Paramount Pictures", "Universal", "MGM", "Lionsgate", "Focus Features")
_GENRES: Final = ("Drama", "Comedy", "Action", "Adventure", "Horror", "Documentary")
_ADJECTIVES: Final = ("Silent", "Last", "Crimson", "Endless", "Paper", "Hidden", "Électrique")
_NOUNS: Final = ("Harbour", "Witness", "Orchard", "Signal", "Étoile", "Ledger", "Night 🌙")


def move_launch(studio: Studio, rng: random.Random) -> Sequence[Change]:
    """The launch moves, now and then back to where it was, and the US slate follows."""
    title = studio.titles.draw(rng)
    day = _other_launch_date(title, rng, studio)
    title.former_date, title.launch_date = title.launch_date, day
    kind = "move_launch"
    made = [change.update(kind, change.MOVE_LAUNCH, _key(title) | {"launch_date": day})]
    for number, (territory, window, planned_on) in title.slate.items():
        if territory == "US" and window == "theatrical" and planned_on != day:
            title.slate[number] = territory, window, day
            values = {"planned_on": day, "slate_year": day.year, "is_confirmed": 0}
            made.append(
                change.update(kind, change.MOVE_SLATE, {"old_slate_entry_id": number} | values)
            )
    return made


def reschedule(studio: Studio, rng: random.Random) -> Sequence[Change]:
    title = studio.titles.draw(rng)
    if not title.productions:
        return ()
    number = rng.choice(list(title.productions))
    first, last = title.productions[number]
    first = _within_reach(first, rng.choice((-14, -7, -1, 1, 7, 14, 28)))
    length = max(1, (last - title.productions[number][0]).days + rng.randint(-3, 5))
    last = first + timedelta(days=length)
    title.productions[number] = first, last
    values = {
        "old_production_id": number,
        "starts_on": first,
        "ends_on": last,
        "call_time": time(rng.randint(4, 11), rng.choice((0, 15, 30, 45))),
        "status": rng.choice(("planned", "active", "wrapped")),
        "rescheduled_at": studio.tick(),
    }
    return (change.update("reschedule", change.RESCHEDULE, values),)


def review(studio: Studio, rng: random.Random) -> Sequence[Change]:
    """Critics and the public have spoken again."""
    values = _key(studio.titles.draw(rng)) | {
        "score": Decimal(rng.randint(10, 99)) / 10,
        "critics_percent": rng.randint(0, 100),
        "more_votes": rng.randint(1, 500),
        "attributes": {
            "festival": rng.choice(("Cannes", "Venice", None)),
            "wins": rng.randint(0, 9),
        },
    }
    return (change.update("review", change.REVIEW, values),)


def rename(studio: Studio, rng: random.Random) -> Sequence[Change]:
    """A working title comes or goes; a long name is not made longer for ever."""
    title = studio.titles.draw(rng)
    bare = title.name.removesuffix(" (working title)")
    title.name = f"{bare} (working title)" if title.name == bare and len(bare) < 200 else bare
    values = _key(title) | {"name": title.name, "synopsis": f"Now known as {title.name}."}
    return (change.update("rename", change.RENAME, values),)


def new_title(studio: Studio, rng: random.Random) -> Sequence[Change]:
    title_id = studio.next_id(tables.TITLES)
    launch = (studio.tick() + timedelta(days=rng.randint(200, 900))).date()
    name = f"{rng.choice(_ADJECTIVES)} {rng.choice(_NOUNS)} {title_id}"
    total = Decimal(rng.randint(50_000_000, 25_000_000_000)) / 100
    title = Title(title_id, name, launch)
    studio.titles.add(title)
    lines = budget_lines(title_id, total, launch.year)
    title.budgets.update(
        {(line["fiscal_year"], line["category"]): line["amount"] for line in lines}
    )
    row = {
        "title_id": title_id,
        "name": name,
        "kind": rng.choice(("film", "series", "documentary", "short")),
        "launch_date": launch,
        "total_budget": total,
        "distributor": rng.choice(_DISTRIBUTORS),
        "genre": rng.choice(_GENRES),
        "markets": set(),
        "attributes": {"source": "Original Screenplay"},
    }
    return (
        change.insert("new_title", tables.TITLES, [row]),
        change.insert("new_title", tables.BUDGETS, lines),
        _plan_production(studio, title, launch),
        _plan_slate(studio, title, launch),
    )


def cancel_title(studio: Studio, rng: random.Random) -> Sequence[Change]:
    """The title goes, and its children by cascade."""
    title = studio.titles.draw(rng)
    studio.titles.remove(title)
    return (change.delete("cancel_title", tables.TITLES, _key(title), changes=title.rows),)


def renumber_title(studio: Studio, rng: random.Random) -> Sequence[Change]:
    """A new primary key; the children follow by cascade, and budgets change their own key so."""
    title = studio.titles.draw(rng)
    values = _key(title)
    studio.titles.remove(title)
    title.title_id = studio.next_id(tables.TITLES)
    studio.titles.add(title)
    values["title_id"] = title.title_id
    return (change.update("renumber_title", change.RENUMBER, values, changes=title.rows),)


def _key(title: Title) -> dict[str, object]:
    return {"old_title_id": title.title_id}


def _other_launch_date(title: Title, rng: random.Random, studio: Studio) -> date:
    if title.former_date is not None and rng.random() < 0.4:
        return title.former_date
    if title.launch_date is None:
        return (studio.tick() + timedelta(days=rng.randint(90, 700))).date()
    # Delays are more common than the opposite, here as elsewhere.
    days = rng.choice(_DELAYS_DAYS) * (1 if rng.random() < 0.65 else -1)
    return _within_reach(title.launch_date, days)


def _within_reach(day: date, days: int) -> date:
    moved = day + timedelta(days=days)
    return moved if _EARLIEST <= moved <= _LATEST else day - timedelta(days=days)


def _plan_production(studio: Studio, title: Title, launch: date) -> Change:
    number = studio.next_id(tables.PRODUCTIONS)
    first, last = launch - timedelta(days=190), launch - timedelta(days=130)
    title.productions[number] = first, last
    row = {
        "production_id": number,
        "title_id": title.title_id,
        "phase": "principal_photography",
        "starts_on": first,
        "ends_on": last,
    }
    return change.insert("new_title", tables.PRODUCTIONS, [row])


def _plan_slate(studio: Studio, title: Title, launch: date) -> Change:
    rows = []
    for territory, later_days in (("US", 0), ("FR", 7)):
        number = studio.next_id(tables.SLATE_ENTRIES)
        planned_on = launch + timedelta(days=later_days)
        title.slate[number] = territory, "theatrical", planned_on
        rows.append({
            "slate_entry_id": number,
            "title_id": title.title_id,
            "territory": territory,
            "release_window": "theatrical",
            "slate_year": planned_on.year,
            "planned_on": planned_on,
        })  # fmt: skip
    return change.insert("new_title", tables.SLATE_ENTRIES, rows)
