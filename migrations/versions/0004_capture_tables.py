"""What the capture needs in the source: the heartbeat row and the signal table"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
}


def upgrade() -> None:
    op.create_table(
        "callsheet_heartbeat",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False, comment="Always 1"),
        sa.Column("beat_at", mysql.TIMESTAMP(fsp=6), nullable=False, comment="Last beat, UTC"),
        sa.PrimaryKeyConstraint("id"),
        comment="Written by the connector so that its offsets move while the tables are quiet",
        **OPTIONS,
    )
    # The shape is Debezium's: it reads the three columns by position.
    op.create_table(
        "callsheet_signal",
        sa.Column("id", sa.String(42), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("data", sa.String(2048)),
        sa.PrimaryKeyConstraint("id"),
        comment="Requests to the connector, such as an incremental snapshot",
        **OPTIONS,
    )


def downgrade() -> None:
    op.drop_table("callsheet_signal")
    op.drop_table("callsheet_heartbeat")
