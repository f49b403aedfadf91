from __future__ import annotations

from pathlib import Path

from stack import environment
from stack.ports import Ports


def test_passwords_are_random_kept_and_for_the_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "env"
    first = environment.write(file, Ports())
    second = environment.write(file, Ports.from_base(30_000))
    secrets = [name for name in first if name.endswith("_PASSWORD")]
    assert len({first[name] for name in secrets}) == len(secrets) == 4
    assert all(first[name] == second[name] for name in secrets)
    assert all(len(first[name]) >= 24 for name in secrets)
    assert file.stat().st_mode & 0o777 == 0o600
    assert second["CALLSHEET_MYSQL_PORT"] == "30000"


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    file = tmp_path / "env"
    assert environment.read(file) == {}
    assert environment.read(file) != (written := environment.write(file, Ports()))
    assert environment.read(file) == written


def test_the_contract_of_variables(tmp_path: Path) -> None:
    variables = environment.write(tmp_path / "env", Ports())
    assert {name: value for name, value in variables.items() if "PASSWORD" not in name} == {
        "CALLSHEET_MYSQL_HOST": "127.0.0.1",
        "CALLSHEET_MYSQL_PORT": "13306",
        "CALLSHEET_MYSQL_DATABASE": "finance",
        "CALLSHEET_MYSQL_ADMIN_USER": "root",
        "CALLSHEET_KAFKA_BOOTSTRAP": "127.0.0.1:19092",
        "CALLSHEET_REGISTRY_URL": "http://127.0.0.1:18081/apis/ccompat/v7",
        "CALLSHEET_CONNECT_URL": "http://127.0.0.1:18083",
        "CALLSHEET_ELASTICSEARCH_URL": "http://127.0.0.1:19200",
        "CALLSHEET_HIVE_HOST": "127.0.0.1",
        "CALLSHEET_HIVE_PORT": "20000",
        "CALLSHEET_HDFS_URL": "hdfs://127.0.0.1:18020",
        "CALLSHEET_WEBHDFS_URL": "http://127.0.0.1:19870",
    }


def test_servers_do_not_learn_the_administrators_password(tmp_path: Path) -> None:
    variables = environment.write(tmp_path / "env", Ports())
    left_out = variables.keys() - environment.without_admin(variables).keys()
    assert left_out == {"CALLSHEET_MYSQL_ADMIN_USER", "CALLSHEET_MYSQL_ADMIN_PASSWORD"}
