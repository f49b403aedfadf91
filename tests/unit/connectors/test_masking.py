from __future__ import annotations

import pytest

from connectors.masking import (
    MASK,
    environment_secrets,
    is_secret_name,
    masked,
    masked_config,
    redacted,
    resolved,
    without_userinfo,
)


@pytest.mark.parametrize(
    "name",
    [
        "database.password",
        "producer.override.sasl.jaas.config",
        "value.converter.schema.registry.basic.auth.user.info",
        "ssl.key.password",
        "aws.secret.access.key",
        "api.key",
        "my.token",
    ],
)
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)
    assert masked(name, "hunter2") == MASK


@pytest.mark.parametrize(
    "name", ["key.converter", "message.key.columns", "topic.prefix", "database.user"]
)
def test_names_that_hold_no_secret(name: str) -> None:
    assert masked(name, "value") == "value"


def test_references_stay_visible_unless_something_is_glued_to_them() -> None:
    config = {"database.password": "${env:CALLSHEET_CAPTURE_PASSWORD}", "a.password": "x${env:Y}"}
    assert masked_config(config) == {
        "database.password": "${env:CALLSHEET_CAPTURE_PASSWORD}",
        "a.password": MASK,
    }


def test_secrets_are_cut_out_of_text_longest_first() -> None:
    secrets = environment_secrets(
        {
            "CALLSHEET_APP_PASSWORD": "abc",
            "CALLSHEET_CAPTURE_PASSWORD": "abcdef",
            "CALLSHEET_READER_PASSWORD": "",
            "CALLSHEET_MYSQL_HOST": "localhost",
            "OTHER_PASSWORD": "not ours",
        }
    )
    assert secrets == {"abc", "abcdef"}
    assert (
        redacted("at localhost with abcdef or abc", secrets)
        == f"at localhost with {MASK} or {MASK}"
    )


def test_references_resolve_as_connect_would() -> None:
    assert resolved("${env:HOST}:${env:PORT}", {"HOST": "db", "PORT": "3306"}) == "db:3306"
    assert resolved("plain", {}) == "plain"
    with pytest.raises(KeyError, match="HOST"):
        resolved("${env:HOST}", {})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://bob:s3cret@registry:8081/apis", "http://registry:8081/apis"),
        ("https://token@registry", "https://registry"),
        ("http://registry:8081/apis", "http://registry:8081/apis"),
        ("http://bob:s3/cr@et@registry", "http://registry"),  # not escaped
        ("http://bob:s3,cret@registry", "http://registry"),
        ("http://bob:s3cret@one,https://eve:s3cret@two/x", "http://one,https://two/x"),
        ("no answer of http://bob:s3cret@one: ask it@two", "no answer of http://one: ask it@two"),
        ("me@example.org", "me@example.org"),
    ],
)
def test_a_url_is_shown_without_user_and_password(url: str, shown: str) -> None:
    assert without_userinfo(url) == shown
    assert masked("value.converter.schema.registry.url", url) == shown
    assert redacted(url, ()) == shown
