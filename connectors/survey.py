"""Ask a connector's MySQL whether it is fit, and say so as findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from callsheet.doctor import Finding
from callsheet.errors import CallsheetError
from callsheet.kafka.topics import TopicState
from connectors.files import ConnectorFile
from connectors.preflight import Wanted, judge
from connectors.progress import BinlogPosition
from connectors.source import Address, Compression, MysqlSource

DOWNTIME_BUDGET_HOURS = 24.0
"""How long capture may be down without losing a change, unless stated otherwise."""


class MysqlSurvey:
    """Looks with the connector's own account: what that cannot see, Debezium cannot either."""

    def __init__(
        self, environ: Mapping[str, str], *, downtime_budget_hours: float = DOWNTIME_BUDGET_HOURS
    ) -> None:
        self._environ = environ
        self._budget_hours = downtime_budget_hours

    def findings(
        self,
        file: ConnectorFile,
        *,
        committed: BinlogPosition | None = None,
        history: TopicState | None = None,
    ) -> tuple[Finding, ...]:
        """Everything about the server that matters to this connector.

        Raises:
            UnavailableError: MySQL does not answer.
            PreconditionError: it refuses the account.
        """
        wanted = Wanted.of(file.name, file.config, self._budget_hours)
        address = Address.of(file.config, self._environ)
        facts = MysqlSource(address).facts(wanted.schemas)
        facts = replace(facts, compression=self._compression(address))
        return judge(facts, wanted, committed=committed, history=history)

    def _compression(self, address: Address) -> Compression | None:
        """Seen by an administrator only; without one it stays unknown."""
        password = self._environ.get("CALLSHEET_MYSQL_ADMIN_PASSWORD")
        if password is None:
            return None
        user = self._environ.get("CALLSHEET_MYSQL_ADMIN_USER", "root")
        return MysqlSource(replace(address, user=user, password=password)).compression()


def diagnose(survey: MysqlSurvey, file: ConnectorFile) -> tuple[Finding, ...]:
    """MySQL alone, for a doctor: an unreachable server is a finding too.

    Kafka and Connect are not asked, so nothing is said of the schema history.
    """
    try:
        return tuple(found for found in survey.findings(file) if found.area == "mysql")
    except CallsheetError as error:
        return (Finding("mysql", "connection", "fail", error.message, error.hint),)
