"""Traces as recorded from Kafka Connect 4.3 with Debezium 3.6, shortened in the middle."""

from __future__ import annotations

import pytest

from connectors.traces import Kind, root_cause

PURGED = """\
io.debezium.DebeziumException: The connector is trying to read change stream starting at \
BinlogOffsetContext{sourceInfoSchema=Schema{io.debezium.connector.mysql.Source:STRUCT}, \
sourceInfo=BinlogSourceInfo{currentBinlogFilename='binlog.000002'}}, but this is no longer \
available on the server. Reconfigure the connector to use a snapshot mode when needed.
\tat io.debezium.connector.common.BaseSourceTask.validateSchemaHistory(BaseSourceTask.java:164)
\tat java.base/java.lang.Thread.run(Thread.java:840)
"""
HISTORY = """\
io.debezium.DebeziumException: The db history topic is missing. You may attempt to recover it by \
reconfiguring the connector to recovery.
\tat io.debezium.connector.common.BaseSourceTask.validateSchemaHistory(BaseSourceTask.java:131)
"""
DENIED = """\
org.apache.kafka.connect.errors.ConnectException: Unable to connect
\tat io.debezium.Something.start(Something.java:1)
Caused by: java.sql.SQLException: Access denied for user 'callsheet_capture'@'localhost' (using \
password: YES)
\tat com.mysql.cj.jdbc.exceptions.SQLError.createSQLException(SQLError.java:121)
\t... 12 more
"""
REFUSED = """\
org.apache.kafka.connect.errors.ConnectException: Tolerance exceeded in error handler
\tat org.apache.kafka.connect.runtime.errors.RetryWithToleranceOperator.execAndHandleError(X.java:1)
Caused by: org.apache.kafka.connect.errors.DataException: Failed to serialize Avro data from topic \
studio.finance.titles :
\tat io.confluent.connect.avro.AvroConverter.fromConnectData(AvroConverter.java:93)
Caused by: java.net.ConnectException: Connection refused
\tat java.base/sun.nio.ch.Net.pollConnect(Native Method)
"""
LARGE = """\
org.apache.kafka.connect.errors.ConnectException: Unrecoverable exception from producer
\tat org.apache.kafka.connect.runtime.AbstractWorkerSourceTask.maybeThrow(A.java:1)
Caused by: org.apache.kafka.common.errors.RecordTooLargeException: The message is 9000088 bytes \
when serialized which is larger than 8388608
"""
FENCED = """\
org.apache.kafka.connect.errors.ConnectException: Unrecoverable exception
Caused by: org.apache.kafka.common.errors.ProducerFencedException: There is a newer producer
"""


@pytest.mark.parametrize(
    ("trace", "kind", "text", "hint"),
    [
        (PURGED, Kind.PERMANENT, "no longer available on the server", "callsheet sweep"),
        (HISTORY, Kind.PERMANENT, "db history topic is missing", "recovery"),
        (DENIED, Kind.PERMANENT, "Access denied for user", "password"),
        (LARGE, Kind.PERMANENT, "9000088 bytes", "max.request.size"),
        (REFUSED, Kind.TRANSIENT, "java.net.ConnectException: Connection refused", ""),
        (FENCED, Kind.TRANSIENT, "ProducerFencedException", ""),
        ("java.lang.IllegalStateException: huh\n\tat a.B.c(B.java:1)", Kind.UNKNOWN, "huh", ""),
        ("", Kind.UNKNOWN, "no trace", ""),
    ],
)
def test_root_cause(trace: str, kind: Kind, text: str, hint: str) -> None:
    cause = root_cause(trace)
    assert cause.kind is kind
    assert text in cause.text
    assert hint in cause.hint
    assert "\n" not in cause.text
    assert "\tat" not in cause.text


def test_the_innermost_exception_is_quoted_but_an_outer_one_may_decide() -> None:
    trace = (
        "org.apache.kafka.common.errors.RecordTooLargeException: too big\n"
        "\tat a.B.c(B.java:1)\nCaused by: java.lang.IllegalStateException: inner\n\t... 3 more"
    )
    cause = root_cause(trace)
    assert cause.kind is Kind.PERMANENT
    assert cause.text == "java.lang.IllegalStateException: inner"


def test_objects_that_java_prints_are_left_out_for_rows_may_be_among_them() -> None:
    cause = root_cause("x.DataException: bad value in Struct{id=1,inner=Struct{name=Jane}} here")
    assert cause.text == "x.DataException: bad value in Struct... here"
