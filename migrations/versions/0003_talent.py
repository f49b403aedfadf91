"""Talent and what they are paid: the tables with personal data

Every column that names, reaches or pays a person says so in its comment ("Personal data"), which
is where masking rules and reviews look.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
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


def upgrade() -> None:
    op.create_table(
        "talent",
        sa.Column("talent_id", sa.BigInteger, autoincrement=True, nullable=False),
        sa.Column("full_name", sa.String(120), nullable=False, comment="Personal data: name"),
        sa.Column(
            "roles",
            mysql.SET("actor", "composer", "director", "producer", "writer"),
            nullable=False,
            server_default="",
        ),
        sa.Column("email", sa.String(254), comment="Personal data: address"),
        sa.Column("phone", sa.String(32), comment="Personal data: telephone"),
        sa.Column("birth_date", sa.Date, comment="Personal data: date of birth"),
        sa.Column("tax_number", sa.CHAR(11), comment="Personal data: taxpayer number"),
        sa.Column(
            "payout_token",
            mysql.BINARY(16),
            comment="Personal data: the payment provider's handle of the account",
        ),
        updated_at(),
        sa.PrimaryKeyConstraint("talent_id"),
        comment="People under contract (personal data)",
        **OPTIONS,
    )
    op.create_index("ix_talent_full_name", "talent", ["full_name"])
    op.create_table(
        "talent_payments",
        sa.Column("payment_id", sa.BigInteger, autoincrement=True, nullable=False),
        sa.Column("talent_id", sa.BigInteger, nullable=False),
        sa.Column("title_id", sa.BigInteger, nullable=False),
        sa.Column("kind", mysql.ENUM("advance", "salary", "bonus", "residual"), nullable=False),
        sa.Column("amount", sa.DECIMAL(13, 2), nullable=False, comment="Personal data: gross pay"),
        sa.Column(
            "currency", sa.CHAR(3), nullable=False, server_default="USD", comment="ISO 4217 code"
        ),
        sa.Column(
            "withholding_rate",
            sa.DECIMAL(5, 4),
            nullable=False,
            server_default="0",
            comment="Share kept for taxes, 0 to 1",
        ),
        sa.Column("due_on", sa.Date, nullable=False),
        sa.Column("paid_at", mysql.DATETIME(fsp=6), comment="UTC; null while it is owed"),
        sa.Column("memo", sa.String(200)),
        updated_at(),
        sa.PrimaryKeyConstraint("payment_id"),
        # A person with payments cannot be removed: their books must outlive the contract.
        sa.ForeignKeyConstraint(
            ["talent_id"],
            ["talent.talent_id"],
            name="fk_talent_payments_talent",
            ondelete="RESTRICT",
            onupdate="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["title_id"],
            ["titles.title_id"],
            name="fk_talent_payments_title",
            ondelete="CASCADE",
            onupdate="CASCADE",
        ),
        sa.CheckConstraint("amount > 0", name="ck_talent_payments_amount"),
        sa.CheckConstraint(
            "withholding_rate BETWEEN 0 AND 1", name="ck_talent_payments_withholding"
        ),
        comment="What each person is paid for a title (personal data)",
        **OPTIONS,
    )
    op.create_index("ix_talent_payments_talent", "talent_payments", ["talent_id", "due_on"])
    op.create_index("ix_talent_payments_title", "talent_payments", ["title_id"])


def downgrade() -> None:
    op.drop_table("talent_payments")
    op.drop_table("talent")
