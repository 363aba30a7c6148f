"""The settings about time in config.json: what is accepted, what is refused and why."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scripts.core import config_file
from scripts.core.config import DateColumn, Schema
from scripts.core.errors import ConfigError

PATHS = {
    "input_folder_path": "in",
    "output_folder_path": "out",
    "test_data_path": "test",
    "output_model_path": "models",
    "prod_deployment_path": "prod",
}
DATED = {"target": "left", "ids": ["client", "email"], "date": "as_of"}
OUTCOMES = {"input_folder_path": "outcomes", "date": "left_on", "horizon_days": 90}
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a config.json with the five keys and more."""

    def write_settings(**settings: Any) -> Path:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(PATHS | settings))
        return path

    return write_settings


def test_a_schema_without_dates_is_encoded_as_before() -> None:
    encoded = msgspec.json.decode(msgspec.json.encode(Schema()))

    assert not {"key", "date", "dates", "changes", "ratios"} & set(encoded)


def test_the_key_of_a_dated_table_is_the_first_identifier(write: Write) -> None:
    schema = config_file.read_config(write(schema=DATED)).schema

    assert (schema.client_key, schema.ids) == ("client", ("client",))
    assert schema.date_column == DateColumn(column="as_of")


def test_a_table_without_key_and_date_has_no_single_key() -> None:
    assert Schema(ids=("a", "b")).client_key == ""


@pytest.mark.parametrize("dated", [{"date": "as_of"}, {}])
def test_the_key_is_the_only_identifier_that_is_read(write: Write, dated: dict[str, str]) -> None:
    section = {"target": "left", "ids": ["client", "email"], "key": "email"} | dated

    schema = config_file.read_config(write(schema=section)).schema

    assert (schema.ids, schema.ignore) == (("email",), ("client",))


def test_a_key_needs_no_list_of_identifiers(write: Write) -> None:
    section = {"target": "left", "key": "client", "date": "as_of"}

    assert config_file.read_config(write(schema=section)).schema.ids == ("client",)


def test_without_key_and_date_every_identifier_is_read(write: Write) -> None:
    section = {"target": "left", "ids": ["client", "email"]}

    assert config_file.read_config(write(schema=section)).schema.ids == ("client", "email")


def test_dates_have_the_iso_format_or_their_own(write: Write) -> None:
    listed = config_file.read_config(write(schema=DATED | {"dates": ["signup"]})).schema
    own = config_file.read_config(write(schema=DATED | {"dates": {"signup": "%d.%m.%Y"}})).schema

    assert listed.date_formats == {"signup": "%Y-%m-%d"}
    assert own.date_formats == {"signup": "%d.%m.%Y"}


@pytest.mark.parametrize("settings", [{}, {"test_data_path": None}])
def test_without_test_data_the_latest_rows_are_the_test(
    write: Write, settings: dict[str, Any]
) -> None:
    path = write(schema=DATED, **settings)
    if not settings:
        written = json.loads(path.read_text())
        del written["test_data_path"]
        path.write_text(json.dumps(written))

    config = config_file.read_config(path)

    assert config.tests_latest_rows
    assert not config_file.read_config(write(schema=DATED)).tests_latest_rows


def test_a_folder_of_the_same_name_as_the_latest_rows_is_a_folder(write: Write) -> None:
    config = config_file.read_config(write(schema=DATED, test_data_path="the latest rows"))

    assert not config.tests_latest_rows


def test_outcomes_are_a_target_of_their_own(write: Write, tmp_path: Path) -> None:
    config = config_file.read_config(
        write(schema={"key": "client", "date": "file_name"}, outcomes=OUTCOMES)
    )

    assert config.schema.target == "left"
    assert config.schema.inferred == ("numeric", "categorical")
    assert config.outcomes is not None
    assert config.outcomes.input_folder_path == tmp_path / "outcomes"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"schema": {"target": "left", "key": "a", "dates": ["b"]}}, "dates, needs schema.date"),
    ({"schema": {"target": "left", "changes": ["b"]}}, "changes, needs schema.date"),
    ({"schema": {"target": "left", "date": "as_of"}}, "schema.date, needs schema.key"),
    ({"schema": DATED | {"dates": ["as_of"]}}, r"names the columns \['as_of'\] more than once"),
    ({"schema": DATED | {"ignore": ["as_of"]}}, r"names the columns \['as_of'\] more than once"),
    ({"schema": DATED | {"numeric": ["as_of"]}}, r"names the columns \['as_of'\] more than once"),
    ({"schema": DATED | {"date": {"column": "as_of", "format": "%Y"}}}, "no format of dates"),
    ({"schema": DATED | {"dates": {"signup": "DD.MM.YYYY"}}}, "dates, signup: .*no format"),
    ({"schema": DATED | {"numeric": ["n"], "changes": ["m"]}}, r"changes, names \['m'\]"),
    ({"schema": DATED | {"numeric": ["n"], "ratios": {"r": ["n", "m"]}}}, r"ratios, names \['m'\]"),
    ({"schema": DATED | {"ratios": {"client": ["n", "m"]}}}, r"gives \['client'\] a name"),
    ({"schema": DATED | {"ratios": {"r": ["n"]}}}, r"schema\.ratios"),
    ({"schema": DATED | {"date": {"colum": "a"}}}, "unknown key 'colum'; did you mean 'column'"),
    ({"schema": {"target": "left"}, "test_data_path": None}, "field `test_data_path` is missing"),
    ({"outcomes": OUTCOMES, "schema": {"key": "a"}}, "outcomes, needs schema.date"),
    ({"outcomes": OUTCOMES | {"horizon_days": 0}, "schema": DATED}, "horizon_days"),
    ({"outcomes": OUTCOMES | {"complete_until": "May"}, "schema": DATED}, "complete_until"),
    ({"outcomes": OUTCOMES | {"format": "%y"}, "schema": DATED}, "outcomes.format"),
    ({"outcomes": OUTCOMES | {"dat": "x"}, "schema": DATED}, "outcomes, has the unknown key 'dat'"),
    ({"outcomes": OUTCOMES | {"input_folder_path": "in"}, "schema": DATED}, "folder of their own"),
    ({"outcomes": OUTCOMES | {"input_folder_path": "out"}, "schema": DATED}, "the same folder as"),
]


@pytest.mark.parametrize(("settings", "reason"), WRONG)
def test_a_setting_about_time_that_cannot_be_right_is_named(
    write: Write, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=rf"config\.json.*{reason}"):
        config_file.read_config(write(**settings))
