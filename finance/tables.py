"""The finance tables as the programs see them: loader, simulator, checks.

The migrations are what creates them; `tests/integration/test_finance.py` holds the two together.
Column comments live in the migrations only.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

METADATA: Final = sa.MetaData()


def _year() -> sa.types.TypeEngine[int]:
    """YEAR in MySQL, an integer here: SQLAlchemy's own YEAR does not know how to be compared."""
    return sa.Integer().with_variant(mysql.YEAR(), "mysql")


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=True)


def _title_reference(table: str, *, primary_key: bool = False) -> sa.Column[int]:
    reference = sa.ForeignKey(
        "titles.title_id", name=f"fk_{table}_title", ondelete="CASCADE", onupdate="CASCADE"
    )
    return sa.Column(
        "title_id",
        sa.BigInteger,
        reference,
        primary_key=primary_key,
        nullable=False,
        autoincrement=False,
    )


def _updated_at() -> sa.Column[Any]:
    now = "CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"
    return sa.Column(
        "updated_at", mysql.TIMESTAMP(fsp=6), nullable=False, server_default=sa.text(now)
    )


def _flag(name: str) -> sa.Column[int]:
    return sa.Column(name, mysql.TINYINT(1), nullable=False, server_default="0")


def _counter(name: str) -> sa.Column[int]:
    return sa.Column(name, mysql.INTEGER(unsigned=True), nullable=False, server_default="0")


def _currency() -> sa.Column[str]:
    return sa.Column("currency", sa.CHAR(3), nullable=False, server_default="USD")


TITLES: Final = sa.Table(
    "titles",
    METADATA,
    _key("title_id"),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column(
        "kind", mysql.ENUM("film", "series", "documentary", "short", "special"), nullable=False
    ),
    sa.Column("launch_date", sa.Date),
    sa.Column("total_budget", sa.DECIMAL(15, 2)),
    sa.Column("us_gross", sa.DECIMAL(15, 2)),
    sa.Column("worldwide_gross", sa.DECIMAL(15, 2)),
    sa.Column("distributor", sa.String(100)),
    sa.Column("genre", sa.String(40)),
    sa.Column("rating", mysql.ENUM("G", "PG", "PG-13", "R", "NC-17", "Not Rated")),
    sa.Column("director", sa.String(120)),
    sa.Column("running_time_minutes", mysql.SMALLINT(unsigned=True)),
    sa.Column("score", sa.DECIMAL(3, 1)),
    sa.Column("votes", mysql.INTEGER(unsigned=True)),
    sa.Column("critics_percent", mysql.TINYINT(unsigned=True)),
    sa.Column(
        "markets",
        mysql.SET("domestic", "international", "home_video", "streaming"),
        nullable=False,
        server_default="",
    ),
    _flag("is_released"),
    sa.Column("synopsis", sa.Text),
    sa.Column("attributes", sa.JSON(none_as_null=True)),
    _updated_at(),
    sa.Index("ix_titles_launch_date", "launch_date"),
    sa.Index("ix_titles_name", "name"),
)

PRODUCTIONS: Final = sa.Table(
    "productions",
    METADATA,
    _key("production_id"),
    _title_reference("productions"),
    sa.Column(
        "phase",
        mysql.ENUM(
            "development", "pre_production", "principal_photography", "post_production", "delivery"
        ),
        nullable=False,
    ),
    sa.Column(
        "status",
        mysql.ENUM("planned", "active", "wrapped", "cancelled"),
        nullable=False,
        server_default="planned",
    ),
    sa.Column("starts_on", sa.Date, nullable=False),
    sa.Column("ends_on", sa.Date, nullable=False),
    sa.Column("call_time", mysql.TIME()),
    sa.Column("studio", sa.String(80)),
    _counter("revision"),
    sa.Column("rescheduled_at", mysql.DATETIME(fsp=6)),
    _updated_at(),
    sa.Index("ix_productions_title", "title_id", "phase"),
)

SLATE_ENTRIES: Final = sa.Table(
    "slate_entries",
    METADATA,
    _key("slate_entry_id"),
    _title_reference("slate_entries"),
    sa.Column("territory", sa.CHAR(2), nullable=False),
    sa.Column(
        "release_window",
        mysql.ENUM("festival", "theatrical", "home_video", "streaming"),
        nullable=False,
    ),
    sa.Column("slate_year", _year(), nullable=False),
    sa.Column("planned_on", sa.Date, nullable=False),
    _flag("is_confirmed"),
    sa.Column("note", sa.String(200)),
    _updated_at(),
    sa.UniqueConstraint("title_id", "territory", "release_window", name="uq_slate_entries_window"),
    sa.Index("ix_slate_entries_planned", "slate_year", "planned_on"),
)

BUDGETS: Final = sa.Table(
    "budgets",
    METADATA,
    _title_reference("budgets", primary_key=True),
    sa.Column("fiscal_year", _year(), primary_key=True, autoincrement=False),
    sa.Column(
        "category", mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), primary_key=True
    ),
    sa.Column("amount", sa.DECIMAL(15, 2), nullable=False),
    _currency(),
    _counter("revision"),
    sa.Column("approved_at", mysql.DATETIME(fsp=6)),
    _updated_at(),
    sa.Index("ix_budgets_year_category", "fiscal_year", "category"),
)

CASH_FLOWS: Final = sa.Table(
    "cash_flows",
    METADATA,
    _key("cash_flow_id"),
    _title_reference("cash_flows"),
    sa.Column(
        "kind",
        mysql.ENUM("domestic_gross", "international_gross", "home_video", "licence", "streaming"),
        nullable=False,
    ),
    sa.Column("amount", sa.DECIMAL(15, 2), nullable=False),
    _currency(),
    sa.Column("booked_on", sa.Date, nullable=False),
    _flag("is_estimate"),
    sa.Column("statement_number", mysql.BIGINT(unsigned=True)),
    _updated_at(),
    sa.Index("ix_cash_flows_title_kind", "title_id", "kind"),
    sa.Index("ix_cash_flows_booked", "booked_on"),
)

TALENT: Final = sa.Table(
    "talent",
    METADATA,
    _key("talent_id"),
    sa.Column("full_name", sa.String(120), nullable=False),
    sa.Column(
        "roles",
        mysql.SET("actor", "composer", "director", "producer", "writer"),
        nullable=False,
        server_default="",
    ),
    sa.Column("email", sa.String(254)),
    sa.Column("phone", sa.String(32)),
    sa.Column("birth_date", sa.Date),
    sa.Column("tax_number", sa.CHAR(11)),
    sa.Column("payout_token", mysql.BINARY(16)),
    _updated_at(),
    sa.Index("ix_talent_full_name", "full_name"),
)

TALENT_PAYMENTS: Final = sa.Table(
    "talent_payments",
    METADATA,
    _key("payment_id"),
    sa.Column(
        "talent_id",
        sa.BigInteger,
        sa.ForeignKey(
            "talent.talent_id",
            name="fk_talent_payments_talent",
            ondelete="RESTRICT",
            onupdate="RESTRICT",
        ),
        nullable=False,
    ),
    _title_reference("talent_payments"),
    sa.Column("kind", mysql.ENUM("advance", "salary", "bonus", "residual"), nullable=False),
    sa.Column("amount", sa.DECIMAL(13, 2), nullable=False),
    _currency(),
    sa.Column("withholding_rate", sa.DECIMAL(5, 4), nullable=False, server_default="0"),
    sa.Column("due_on", sa.Date, nullable=False),
    sa.Column("paid_at", mysql.DATETIME(fsp=6)),
    sa.Column("memo", sa.String(200)),
    _updated_at(),
    sa.Index("ix_talent_payments_talent", "talent_id", "due_on"),
    sa.Index("ix_talent_payments_title", "title_id"),
)

HEARTBEAT: Final = sa.Table(
    "callsheet_heartbeat",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("beat_at", mysql.TIMESTAMP(fsp=6), nullable=False),
)

SIGNAL: Final = sa.Table(
    "callsheet_signal",
    METADATA,
    sa.Column("id", sa.String(42), primary_key=True),
    sa.Column("type", sa.String(32), nullable=False),
    sa.Column("data", sa.String(2048)),
)

BUSINESS_TABLES: Final[tuple[sa.Table, ...]] = (
    TITLES, PRODUCTIONS, SLATE_ENTRIES, BUDGETS, CASH_FLOWS, TALENT, TALENT_PAYMENTS,
)  # fmt: skip
"""What a destination receives; parents before children."""
