"""Runs the revisions over the connection that `finance.migrations` opened.

There is no `alembic.ini` and no URL here: address, account and passwords come from the
environment variables that every Callsheet command reads, so no second place can disagree.
"""

from __future__ import annotations

from alembic import context

from callsheet.errors import UsageError
from finance.tables import METADATA


def main() -> None:
    connection = context.config.attributes.get("connection")
    if context.is_offline_mode() or connection is None:
        # `--sql` would have to print the CREATE USER statements with their passwords.
        raise UsageError(
            "The migrations run over a connection that Callsheet opens.",
            hint="Run `callsheet migrate up`.",
        )
    # MySQL commits at every DDL statement, so one transaction around a revision would promise
    # a rollback that cannot happen. Revisions are small instead, and each stamps itself.
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        transactional_ddl=False,
        transaction_per_migration=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


main()
