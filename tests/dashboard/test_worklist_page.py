"""The page of the worklist: filters become a link, columns have names for people."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from scripts.app import create_app
from scripts.core import config_file
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.core.errors import ConfigError
from scripts.pipeline import snapshot
from tests.support.clientele import CLIENTS, FIRST, put_clients, score, serve
from tests.support.service import edit_config

LABELS = {"lastmonth_activity": {"name": "Activity, 30 days", "unit": "orders"}}
PAGE = "/dashboard/worklist"


@pytest.fixture
def labelled(config_path: Path) -> FlaskClient:
    """A service with four scored clients, a label, a group and a column to show."""
    edit_config(
        config_path,
        schema={"labels": LABELS, "groups": {"Size": ["number_of_employees"]}},
        worklist={"columns": ["lastmonth_activity"]},
    )
    config = read_config(config_path)
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)
    return create_app(config_path).test_client()


def test_the_fields_of_the_form_become_a_link_with_a_condition(labelled: FlaskClient) -> None:
    sent = labelled.get(
        f"{PAGE}?search=&band=&where=lastyear_activity%3D7&column=lastmonth_activity&is=%3E%3D&value=1"
    )

    assert sent.status_code == 303
    assert sent.headers["Location"] == (
        f"{PAGE}?where=lastyear_activity%3D7&where=lastmonth_activity%3E%3D1"
    )
    shown = labelled.get(sent.headers["Location"]).text
    assert "Activity, 30 days is at least 1" in shown
    assert f'href="{PAGE}?where=lastyear_activity%3D7" title="Remove"' in shown
    assert shown.count('<th scope="row"') == 2
    assert labelled.get(f"{PAGE}?where=plan%3Dgold").status_code == 422


def test_a_column_that_is_shown_orders_the_list_and_turns_round(labelled: FlaskClient) -> None:
    shown = labelled.get(f"{PAGE}?order=column.lastmonth_activity").text

    assert 'aria-sort="ascending"' in shown
    assert f'href="{PAGE}?order=-column.lastmonth_activity"' in shown
    assert '<td data-label="Activity, 30 days">2 orders</td>' in shown
    text = labelled.get("/worklist.csv?order=-column.lastmonth_activity").text
    assert [line.split(",")[1] for line in text.splitlines()[1:]] == ["z", "y", "x", "b"]


def test_people_read_names_and_units_everywhere(labelled: FlaskClient) -> None:
    client = labelled.get("/dashboard/client?name=x").text
    assert "Activity, 30 days 0 orders; clients who stay: 3 orders" in client
    assert '<th scope="row">Activity, 30 days</th>' in client
    assert "<dt>Activity, 30 days</dt><dd>0 orders</dd>" in client
    assert "Activity, 30 days 0 orders" in labelled.get("/worklist").text
    assert "Activity, 30 days" in labelled.get("/dashboard/models").text


def test_words_for_people_start_no_run(config: Config, config_path: Path) -> None:
    before = snapshot.fingerprint(["a"], ["b"], config)
    edit_config(config_path, schema={"labels": LABELS})

    assert snapshot.fingerprint(["a"], ["b"], read_config(config_path)) == before


@pytest.mark.parametrize("columns", [["corporation"], ["exited"], ["plan", "plan"], [""]])
def test_a_column_to_show_that_the_list_has_anyway_is_refused(
    config_path: Path, columns: list[str]
) -> None:
    edit_config(config_path, worklist={"columns": columns})

    with pytest.raises(ConfigError, match="worklist.columns, names .* expected columns"):
        config_file.read_config(config_path)


def test_a_column_to_show_that_no_client_has_is_told(
    config_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit_config(config_path, worklist={"columns": ["plan"]})
    config = read_config(config_path)
    serve(config, FIRST)
    put_clients(config, CLIENTS)

    score(config)

    assert "worklist.columns name ['plan'], which no row of today's clients has" in caplog.text


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"groups": {"A": ["x"], "B": ["x"]}}, "the column 'x' is in 'A' and 'B'"),
        ({"groups": {" ": ["x"]}}, "has no name or column"),
        ({"groups": {"A": []}}, "has no name or column"),
        ({"labels": {"x": {"name": ""}}}, "name"),
        ({"labels": {"x": {"unit": "EUR"}}}, "name"),
        ({"label": {}}, "did you mean 'labels'"),
    ],
)
def test_wrong_words_are_refused(
    config_path: Path, schema: dict[str, object], complaint: str
) -> None:
    edit_config(config_path, schema=schema)

    with pytest.raises(ConfigError, match=complaint):
        config_file.read_config(config_path)
