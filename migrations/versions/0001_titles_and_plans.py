"""Titles, productions and the release slate

A title is what everything else hangs on: its children go when it goes and follow it when it is
re-numbered (CASCADE both ways).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
}


def updated_at() -> sa.Column:
    return sa.Column(
        "updated_at",
        mysql.TIMESTAMP(fsp=6),
        nullable=False,
        server_default=sa.text("CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"),
        comment="Last change of this row, UTC",
    )


def title_reference(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["title_id"],
        ["titles.title_id"],
        name=f"fk_{table}_title",
        ondelete="CASCADE",
        onupdate="CASCADE",
    )


def upgrade() -> None:
    op.create_table(
        "titles",
        sa.Column(
            "title_id",
            sa.BigInteger,
            autoincrement=True,
            nullable=False,
            comment="Catalogue number",
        ),
        sa.Column("name", sa.String(255), nullable=False, comment="Title as released"),
        sa.Column(
            "kind",
            mysql.ENUM("film", "series", "documentary", "short", "special"),
            nullable=False,
            comment="Form of the work",
        ),
        sa.Column("launch_date", sa.Date, comment="First public release; null while it is unknown"),
        sa.Column(
            "total_budget", sa.DECIMAL(15, 2), comment="Sum of this title's budget lines, USD"
        ),
        sa.Column("us_gross", sa.DECIMAL(15, 2), comment="Sum of domestic_gross cash flows, USD"),
        sa.Column(
            "worldwide_gross",
            sa.DECIMAL(15, 2),
            comment="Sum of domestic_gross and international_gross cash flows, USD",
        ),
        sa.Column("distributor", sa.String(100), comment="Company that releases it"),
        sa.Column("genre", sa.String(40), comment="Major genre"),
        sa.Column(
            "rating",
            mysql.ENUM("G", "PG", "PG-13", "R", "NC-17", "Not Rated"),
            comment="MPAA rating",
        ),
        sa.Column("director", sa.String(120), comment="Credited director"),
        sa.Column(
            "running_time_minutes", mysql.SMALLINT(unsigned=True), comment="Length in minutes"
        ),
        sa.Column("score", sa.DECIMAL(3, 1), comment="Audience score, 0.0 to 10.0"),
        sa.Column(
            "votes", mysql.INTEGER(unsigned=True), comment="Number of votes behind the score"
        ),
        sa.Column(
            "critics_percent",
            mysql.TINYINT(unsigned=True),
            comment="Share of favourable reviews, 0 to 100",
        ),
        sa.Column(
            "markets",
            mysql.SET("domestic", "international", "home_video", "streaming"),
            nullable=False,
            server_default="",
            comment="Where it has earned money",
        ),
        sa.Column(
            "is_released",
            mysql.TINYINT(1),
            nullable=False,
            server_default="0",
            comment="1 once the public can see it",
        ),
        sa.Column("synopsis", sa.Text, comment="A line or two for the catalogue"),
        sa.Column("attributes", sa.JSON, comment="Open set of further facts, such as the source"),
        updated_at(),
        sa.PrimaryKeyConstraint("title_id"),
        sa.CheckConstraint("total_budget >= 0", name="ck_titles_total_budget"),
        sa.CheckConstraint("score BETWEEN 0 AND 10", name="ck_titles_score"),
        sa.CheckConstraint("critics_percent <= 100", name="ck_titles_critics_percent"),
        comment="One row per film, series or other work",
        **OPTIONS,
    )
    op.create_index("ix_titles_launch_date", "titles", ["launch_date"])
    op.create_index("ix_titles_name", "titles", ["name"])
    op.create_table(
        "productions",
        sa.Column("production_id", sa.BigInteger, autoincrement=True, nullable=False),
        sa.Column("title_id", sa.BigInteger, nullable=False),
        sa.Column(
            "phase",
            mysql.ENUM(
                "development",
                "pre_production",
                "principal_photography",
                "post_production",
                "delivery",
            ),
            nullable=False,
            comment="What is being done",
        ),
        sa.Column(
            "status",
            mysql.ENUM("planned", "active", "wrapped", "cancelled"),
            nullable=False,
            server_default="planned",
        ),
        sa.Column("starts_on", sa.Date, nullable=False, comment="First day, may still move"),
        sa.Column("ends_on", sa.Date, nullable=False, comment="Last day, may still move"),
        sa.Column("call_time", mysql.TIME(), comment="When the crew is called, studio local time"),
        sa.Column("studio", sa.String(80), comment="Lot or stage"),
        sa.Column(
            "revision",
            mysql.INTEGER(unsigned=True),
            nullable=False,
            server_default="0",
            comment="How often its dates moved",
        ),
        sa.Column(
            "rescheduled_at",
            mysql.DATETIME(fsp=6),
            comment="When its dates moved last, UTC; null if never",
        ),
        updated_at(),
        sa.PrimaryKeyConstraint("production_id"),
        title_reference("productions"),
        sa.CheckConstraint("ends_on >= starts_on", name="ck_productions_dates"),
        comment="The phases in which a title is made; their dates move",
        **OPTIONS,
    )
    op.create_index("ix_productions_title", "productions", ["title_id", "phase"])
    op.create_table(
        "slate_entries",
        sa.Column("slate_entry_id", sa.BigInteger, autoincrement=True, nullable=False),
        sa.Column("title_id", sa.BigInteger, nullable=False),
        sa.Column("territory", sa.CHAR(2), nullable=False, comment="ISO 3166-1 country code"),
        sa.Column(
            "release_window",
            mysql.ENUM("festival", "theatrical", "home_video", "streaming"),
            nullable=False,
        ),
        sa.Column(
            "slate_year", mysql.YEAR(), nullable=False, comment="Year on whose slate it stands"
        ),
        sa.Column("planned_on", sa.Date, nullable=False, comment="Planned release day"),
        sa.Column(
            "is_confirmed",
            mysql.TINYINT(1),
            nullable=False,
            server_default="0",
            comment="1 once the date is announced",
        ),
        sa.Column("note", sa.String(200)),
        updated_at(),
        sa.PrimaryKeyConstraint("slate_entry_id"),
        sa.UniqueConstraint(
            "title_id", "territory", "release_window", name="uq_slate_entries_window"
        ),
        title_reference("slate_entries"),
        comment="When a title is planned to come out, per territory and window",
        **OPTIONS,
    )
    op.create_index("ix_slate_entries_planned", "slate_entries", ["slate_year", "planned_on"])


def downgrade() -> None:
    op.drop_table("slate_entries")
    op.drop_table("productions")
    op.drop_table("titles")
