"""Budgets and cash flows

All money is DECIMAL. A budget line has a composite key of three columns, one of them a word: the
word is ASCII and compared by byte, so that every store sorts the keys alike.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
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


def currency() -> sa.Column:
    return sa.Column(
        "currency", sa.CHAR(3), nullable=False, server_default="USD", comment="ISO 4217 code"
    )


def upgrade() -> None:
    op.create_table(
        "budgets",
        sa.Column("title_id", sa.BigInteger, nullable=False),
        sa.Column("fiscal_year", mysql.YEAR(), nullable=False),
        sa.Column(
            "category",
            mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"),
            nullable=False,
            comment="above_the_line, production, post_production, contingency, ...",
        ),
        sa.Column("amount", sa.DECIMAL(15, 2), nullable=False, comment="Approved amount"),
        currency(),
        sa.Column(
            "revision",
            mysql.INTEGER(unsigned=True),
            nullable=False,
            server_default="0",
            comment="How often the amount was revised",
        ),
        sa.Column("approved_at", mysql.DATETIME(fsp=6), comment="Approval of this revision, UTC"),
        updated_at(),
        sa.PrimaryKeyConstraint("title_id", "fiscal_year", "category"),
        title_reference("budgets"),
        sa.CheckConstraint("amount >= 0", name="ck_budgets_amount"),
        comment="What a title may cost, per fiscal year and category",
        **OPTIONS,
    )
    op.create_index("ix_budgets_year_category", "budgets", ["fiscal_year", "category"])
    op.create_table(
        "cash_flows",
        sa.Column("cash_flow_id", sa.BigInteger, autoincrement=True, nullable=False),
        sa.Column("title_id", sa.BigInteger, nullable=False),
        sa.Column(
            "kind",
            mysql.ENUM(
                "domestic_gross", "international_gross", "home_video", "licence", "streaming"
            ),
            nullable=False,
        ),
        sa.Column(
            "amount",
            sa.DECIMAL(15, 2),
            nullable=False,
            comment="Positive comes in, negative goes back",
        ),
        currency(),
        sa.Column("booked_on", sa.Date, nullable=False, comment="Accounting day"),
        sa.Column(
            "is_estimate",
            mysql.TINYINT(1),
            nullable=False,
            server_default="0",
            comment="1 until the statement arrives",
        ),
        sa.Column(
            "statement_number",
            mysql.BIGINT(unsigned=True),
            comment="Number of the distributor's statement",
        ),
        updated_at(),
        sa.PrimaryKeyConstraint("cash_flow_id"),
        title_reference("cash_flows"),
        comment="Money that a title earned or gave back",
        **OPTIONS,
    )
    op.create_index("ix_cash_flows_title_kind", "cash_flows", ["title_id", "kind"])
    op.create_index("ix_cash_flows_booked", "cash_flows", ["booked_on"])


def downgrade() -> None:
    op.drop_table("cash_flows")
    op.drop_table("budgets")
