"""The three accounts, each with the least that it needs

callsheet_app      reads and writes the business tables, nothing else
callsheet_capture  what Debezium asks of MySQL, and its own two tables
callsheet_reader   reads

Accounts belong to the server, the grants to one database of it: going down takes this database's
grants back and drops an account only when no other database has granted it anything.
"""

from __future__ import annotations

import re

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BUSINESS_TABLES = (
    "titles",
    "productions",
    "slate_entries",
    "budgets",
    "cash_flows",
    "talent",
    "talent_payments",
)
APP, CAPTURE, READER = "callsheet_app", "callsheet_capture", "callsheet_reader"

# FLUSH_TABLES, not RELOAD: the snapshot needs FLUSH TABLES WITH READ LOCK and nothing else of
# what RELOAD allows. SHOW DATABASES and the two REPLICATION rights exist only server-wide.
CAPTURE_SERVER_RIGHTS = (
    "SHOW DATABASES",
    "REPLICATION SLAVE",
    "REPLICATION CLIENT",
    "FLUSH_TABLES",
)


def upgrade() -> None:
    passwords = op.get_context().config.attributes["passwords"]
    for user in (APP, CAPTURE, READER):
        secret = passwords[user].get_secret_value()
        _run("CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED BY %s", user, secret)
        # It may have been there, from another database of this server.
        _run("ALTER USER %s@'%%' IDENTIFIED BY %s", user, secret)
    for table in BUSINESS_TABLES:
        _run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {_table(table)} TO %s@'%%'", APP)
    _run(f"GRANT SELECT ON {_database()}.* TO %s@'%%'", READER)
    _run(f"GRANT {', '.join(CAPTURE_SERVER_RIGHTS)} ON *.* TO %s@'%%'", CAPTURE)
    _run(f"GRANT SELECT, LOCK TABLES ON {_database()}.* TO %s@'%%'", CAPTURE)
    _run(f"GRANT INSERT, UPDATE ON {_table('callsheet_heartbeat')} TO %s@'%%'", CAPTURE)
    # DELETE lets incremental snapshots remove the watermarks that they write there.
    _run(f"GRANT INSERT, UPDATE, DELETE ON {_table('callsheet_signal')} TO %s@'%%'", CAPTURE)


def downgrade() -> None:
    tables = (*BUSINESS_TABLES, "callsheet_heartbeat", "callsheet_signal")
    for user in (APP, CAPTURE, READER):
        _run(f"REVOKE IF EXISTS ALL ON {_database()}.* FROM %s@'%%' IGNORE UNKNOWN USER", user)
        for table in tables:
            _run(f"REVOKE IF EXISTS ALL ON {_table(table)} FROM %s@'%%' IGNORE UNKNOWN USER", user)
        if not _is_used_elsewhere(user):
            _run("DROP USER IF EXISTS %s@'%%'", user)


def _run(statement: str, *parameters: str) -> None:
    """Values travel as parameters, which the engine keeps out of its log and its errors."""
    op.get_bind().exec_driver_sql(statement, parameters)


def _name() -> str:
    name = op.get_bind().exec_driver_sql("SELECT DATABASE()").scalar_one()
    return str(name).replace("`", "``")


def _database() -> str:
    # In a grant on a whole database "_" and "%" are wildcards: unescaped, rights on `a_b` would
    # be rights on `axb` too. A doubled percent sign is one for the driver.
    return "`" + re.sub(r"([_%])", r"\\\1", _name()).replace("%", "%%") + "`"


def _table(table: str) -> str:
    return "`" + _name().replace("%", "%%") + f"`.`{table}`"


def _is_used_elsewhere(user: str) -> bool:
    rows = op.get_bind().exec_driver_sql(
        "SELECT 1 FROM mysql.db WHERE user = %s UNION SELECT 1 FROM mysql.tables_priv "
        "WHERE user = %s LIMIT 1",
        (user, user),
    )
    return rows.first() is not None
