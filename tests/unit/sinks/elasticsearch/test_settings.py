"""What may stand in a pipeline's ``sink:`` block, and in a mapping file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from callsheet.errors import ConfigError
from callsheet.schema import Column, Kind
from sinks import available, plugin
from sinks.elasticsearch import PLUGIN, fields
from sinks.elasticsearch.overrides import Override, load
from sinks.elasticsearch.settings import ElasticsearchSettings
from tests.support.batches import a_schema

REPOSITORY = Path(__file__).parents[4]


def made(**settings: Any) -> ElasticsearchSettings:
    return ElasticsearchSettings.model_validate({"hosts": ["https://search:9200"]} | settings)


def test_the_registry_knows_the_built_in_sink() -> None:
    assert "elasticsearch" in available()
    assert plugin("elasticsearch") is PLUGIN


def test_an_unknown_sink_is_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match="no sink 'solr'") as raised:
        plugin("solr")
    assert "elasticsearch" in raised.value.hint


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hosts": []}, "at least 1"),
        ({"hosts": ["search:9200"]}, "http://name:port"),
        ({"hosts": ["http://me:secret@search:9200"]}, "not into the URL"),
        ({"username": "me"}, "go together"),
        ({"api_key": "k", "username": "me", "password": "p"}, "either api_key"),
        ({"index": "titles"}, "contains {table}"),
        ({"index": "{Table}"}, "lower case"),
        ({"index": "{table}-{secret}"}, "contains {table}"),
        ({"hosts": ["http://a:1"], "tls": {"ca_file": "ca.pem"}}, "not https"),
        ({"tls": {"certificate_file": "c.pem"}}, "go together"),
        ({"hosts": ["https://a:1"], "tls": {"fingerprint_sha256": "ab:cd"}}, "64 hex digits"),
        ({"refresh": "always"}, "interval"),
        ({"adaptive": {"light_below_events": 9, "heavy_above_events": 9}}, "less than"),
        ({"lanes": 0}, "greater than or equal to 1"),
        ({"server_types": ["rank_vectors"]}, "scaled_float"),
        ({"retries": 3}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        made(**settings)


def test_secrets_do_not_print() -> None:
    assert "hunter2" not in repr(made(username="me", password="hunter2"))


# --- mappings -------------------------------------------------------------------------------------


def test_money_is_exact_where_the_server_can_and_double_beside_an_exact_keyword_elsewhere() -> None:
    column = Column("budget", Kind.DECIMAL, precision=15, scale=2)
    assert fields.field(column, {"scaled_float"}) == {"type": "scaled_float", "scaling_factor": 100}
    plain = {"type": "double", "fields": {"exact": {"type": "keyword"}}}
    assert fields.field(column, ()) == plain
    wide = Column("budget", Kind.DECIMAL, precision=38, scale=10)
    assert fields.field(wide, {"scaled_float"}) == plain


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("types", [(), ("scaled_float", "unsigned_long", "flattened", "geo_shape")])
def test_every_kind_has_a_field_and_fits_it(kind: Kind, types: tuple[str, ...]) -> None:
    column = Column("c", kind, precision=15, scale=2)
    wanted = fields.field(column, types)
    assert kind in fields.HOLDS[wanted["type"]]
    assert fields.conflict(column, wanted, wanted) == ""


@pytest.mark.parametrize("kind", list(Kind))
def test_a_server_that_gained_types_does_not_park_tables(kind: Kind) -> None:
    column = Column("c", kind, precision=15, scale=2)
    old = fields.field(column, ())
    new = fields.field(column, ("scaled_float", "unsigned_long", "flattened", "geo_shape"))
    assert fields.conflict(column, old, new) == ""


@pytest.mark.parametrize(
    ("was", "now", "fits"),
    [
        (Column("c", Kind.INTEGER), Column("c", Kind.STRING), False),
        (Column("c", Kind.STRING), Column("c", Kind.INTEGER), False),
        (Column("c", Kind.ENUM), Column("c", Kind.STRING), True),
        (Column("c", Kind.STRING), Column("c", Kind.ENUM), True),
        (Column("c", Kind.DATE), Column("c", Kind.DATETIME), True),
        (Column("c", Kind.INTEGER), Column("c", Kind.UNSIGNED), False),
        (Column("c", Kind.INTEGER), Column("c", Kind.DECIMAL, precision=9, scale=2), False),
        (
            Column("c", Kind.DECIMAL, precision=9, scale=2),
            Column("c", Kind.DECIMAL, precision=9, scale=4),
            False,
        ),
        (
            Column("c", Kind.DECIMAL, precision=9, scale=4),
            Column("c", Kind.DECIMAL, precision=12, scale=2),
            True,
        ),
        (Column("c", Kind.JSON), Column("c", Kind.STRING), False),
    ],
)
def test_a_changed_column_fits_or_not(was: Column, now: Column, fits: bool) -> None:
    types = ("scaled_float", "flattened")
    said = fields.conflict(now, fields.field(was, types), fields.field(now, types))
    assert (said == "") is fits


def test_fields_are_counted_as_the_server_counts_them() -> None:
    schema = a_schema(Column("name", Kind.STRING), Column("money", Kind.DECIMAL))
    # _callsheet and its six, id, name and name.keyword, money and money.exact
    assert fields.count(fields.properties(schema, ())) == 7 + 1 + 2 + 2


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, "utf-8")


def test_every_fault_of_every_file_is_told(tmp_path: Path) -> None:
    write(tmp_path, "finance.titles.json", '{"mappings": {"dynamic": true}, "typo": 1}')
    write(tmp_path, "finance.talent.json", '{\n  "settings": {,}\n}')
    write(tmp_path, "titles.json", "{}")
    write(tmp_path, "finance.slate.json", '{"mappings": {"properties": {"_callsheet": {}}}}')
    write(tmp_path, "finance.cash.json", '{"settings": {"refresh_interval": "1s"}}')
    with pytest.raises(ConfigError) as raised:
        load(tmp_path)
    told = "\n".join(map(str, raised.value.faults))
    assert len(raised.value.faults) == 6
    for words in (
        "mappings.dynamic",
        "typo",
        "finance.talent.json:2",
        "<database>.<table>.json",
        "Callsheet's own field",
        "settings.refresh_interval",
    ):
        assert words in told


def test_no_folder_is_no_override(tmp_path: Path) -> None:
    assert load(tmp_path / "absent") == {}


def test_a_field_with_a_type_replaces_one_without_is_merged() -> None:
    derived = fields.properties(
        a_schema(Column("name", Kind.STRING), Column("n", Kind.INTEGER)), ()
    )
    override = Override.model_validate(
        {"mappings": {"properties": {"name": {"fields": {"x": {"type": "text"}}},
                                     "n": {"type": "integer"}}}}
    )  # fmt: skip
    applied = override.applied(derived)
    assert applied["n"] == {"type": "integer"}
    assert set(applied["name"]["fields"]) == {"keyword", "x"}
    assert derived["name"]["fields"].keys() == {"keyword"}, "the derived fields stay as they were"


def test_the_shipped_overrides_are_valid() -> None:
    assert "finance.titles" in load(REPOSITORY / "cdc-config/mappings")
