"""The service keeps to its own description, whatever is sent."""

import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, assume, given, settings
from hypothesis.errors import Unsatisfiable

from scripts.api import auth
from scripts.api.openapi import BodyKind
from scripts.api.request_bodies import CSV
from scripts.api.routes import ROUTES
from scripts.api.routing import Route
from scripts.api.tokens import Role
from scripts.app import create_app
from scripts.core.config_file import read_config
from scripts.data.cells import CONTROL
from scripts.records import database
from tests.support.service import (
    ADMIN_TOKEN,
    DIAGNOSIS,
    FEATURES,
    FIRST,
    TOKEN,
    answer_of,
    edit_config,
    make_model,
    make_row,
    switch,
    write_release,
)

# What is sent: right data, or wrong ones.
MODES = ("positive", "negative")
# That the lengths within a body fit together is more than a schema can say, and so is a reason
# that is more than blanks. Work is with clients that are known.
COUPLED = (BodyKind.TABLES, BodyKind.TENSORS, BodyKind.APPROVAL, BodyKind.WORK, BodyKind.WORK_FILE)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The description of a service with a token, numbers and a category, and all it can tell."""
    # A second of CPU time that the other tests do without.
    import schemathesis
    from schemathesis.config import SchemathesisConfig

    schemathesis.serializer(CSV)(lambda _context, rows: write_csv(rows))
    folder = tmp_path_factory.mktemp("described")
    places = ("input", "output", "test", "models", "prod")
    keys = ("input_folder", "output_folder", "test_data", "output_model", "prod_deployment")
    settings_: dict[str, Any] = {f"{k}_path": place for k, place in zip(keys, places, strict=True)}
    (folder / "config.json").write_text(json.dumps(settings_))
    write_release(folder / "prod", FIRST, make_model(categorical=True))
    switch(folder / "prod", FIRST)
    (folder / "prod" / "diagnostics.json").write_text(json.dumps(DIAGNOSIS))
    # The questions to the records need some; without any they are answered 503.
    with database.open_records(read_config(folder / "config.json").database_url):
        pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADRAS_API_TOKEN", TOKEN)
        patch.setenv("ADRAS_API_ADMIN_TOKEN", ADMIN_TOKEN)
        # The library tries wrong tokens, and after a few of them every answer would be 429.
        patch.setattr(auth, "MAX_FAILED_LOGINS", sys.maxsize)
        app = create_app(folder / "config.json")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        # Too many bytes are refused before they are read, whatever else is wrong with them.
        refusals = {"expected-statuses": [400, 401, 403, 404, 405, 409, 413, 415, 422]}
        rules = {"checks": {"negative_data_rejection": refusals}}
        config = SchemathesisConfig.from_dict(rules)
        yield schemathesis.openapi.from_wsgi("/openapi.json", app, headers=headers, config=config)


def write_csv(rows: Any) -> bytes:
    """Format rows, generated as JSON, as the described table."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return json.dumps(rows).encode()
    # A table has no row that lacks a column: what one row lacks, the table lacks.
    names = [name for name in (rows[0] if rows else {}) if all(name in row for row in rows)]
    # Names that differ in blanks around them only are one column of a table, which no JSON has.
    known = [name for name in (*FEATURES, "plan") if name in names]
    names = list({name.strip(): name for name in (*names, *known)}.values())
    text = io.StringIO()
    writer = csv.writer(text)
    for cells in (names, *([row.get(name) for name in names] for row in rows)):
        # A cell with a control character, such as a line end, is refused aloud, as in the input.
        writer.writerow([CONTROL.sub(" ", c) if isinstance(c, str) else c for c in cells])
    return text.getvalue().encode("utf-8", "surrogatepass")


def is_right_as_text(rows: Any) -> bool:
    """Return whether rows wrong as JSON, a truth value for a word, are right in a table."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return False
    table = list(csv.DictReader(io.StringIO(write_csv(rows).decode("utf-8", "replace"))))
    try:
        numbers = [float(row[name]) for row in table for name in FEATURES if row[name].strip()]
    except (KeyError, ValueError):
        return False
    return bool(table) and "plan" in table[0] and all(number >= 0 for number in numbers)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("route", ROUTES, ids=[f"{r.method} {r.path}" for r in ROUTES])
def test_every_answer_is_as_described(described: Any, route: Route, mode: str) -> None:
    check_operation(described, route, mode, n_examples=15)


@pytest.mark.campaign
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("route", ROUTES, ids=[f"{r.method} {r.path}" for r in ROUTES])
def test_campaign_every_answer_is_as_described(described: Any, route: Route, mode: str) -> None:
    n_sent = check_operation(described, route, mode, n_examples=500)
    print(f"{route.method} {route.path}, {mode} data: {n_sent} requests, all as described")


def check_operation(described: Any, route: Route, mode: str, n_examples: int) -> int:
    """Send requests made from the description, with every check of the library, and count them."""
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    operation = described[route.path][route.method]
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=n_examples,
        deadline=None,
        derandomize=n_examples < 100,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=GenerationMode(mode)))
    def send(case: Any) -> None:
        # Wrong only in a parameter that is empty, and so never sent, is right as it is sent.
        assume(not any(value in (None, [], {}) for value in (case.query or {}).values()))
        # A cursor names a place in a list that was answered, and no generator knows one.
        assume(mode == "negative" or "cursor" not in (case.query or {}))
        is_table = case.media_type == CSV and mode == "negative"
        assume(not (is_table and is_right_as_text(case.body)))
        excluded = [positive_data_acceptance] if route.body_kind in COUPLED else []
        token = TOKEN if route.role in (None, Role.READ) else ADMIN_TOKEN
        headers = {"Authorization": f"Bearer {token}"}
        answer = case.call_and_validate(headers=headers, excluded_checks=excluded)
        statuses[answer.status_code] += 1

    try:
        send()
    except Unsatisfiable:
        # A route that takes nothing cannot be sent anything wrong.
        assert mode == "negative"
        assert not route.parameters
    # Right answers were judged, not refusals that have nothing to do with what was sent.
    good = {200, 404, 422} if route.body_kind in COUPLED else {200, 404}
    # No candidate waits there.
    good |= {409} if route.body_kind is BodyKind.APPROVAL else set()
    assert set(statuses) <= good if mode == "positive" else 429 not in statuses
    return statuses.total()


def test_the_description_is_made_from_routes_and_columns(client: FlaskClient) -> None:
    description = answer_of(client.get("/openapi.json"))

    row = description["components"]["schemas"]["Row"]
    assert description["openapi"] == "3.1.0"
    assert {
        f"{method.upper()} {path}"
        for path, operations in description["paths"].items()
        for method in operations
    } == {f"{route.method} {route.path}" for route in ROUTES}
    assert row["required"] == list(make_row())
    assert row["properties"]["lastmonth_activity"]["minimum"] == 0
    assert "security" not in description["paths"]["/score"]["get"]


def test_the_description_shows_the_categories_that_the_model_knows(config_path: Path) -> None:
    write_release(config_path.parent / "prod", FIRST, make_model(categorical=True))
    switch(config_path.parent / "prod", FIRST)

    description = answer_of(create_app(config_path).test_client().get("/openapi.json"))

    plan = description["components"]["schemas"]["Row"]["properties"]["plan"]
    body = description["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert plan["type"] == ["string", "null"]
    assert plan["examples"] == ["gold"]
    assert body["example"]["data"][0]["plan"] == "gold"


def test_a_token_and_the_limits_stand_in_the_description(
    guarded: FlaskClient, config_path: Path
) -> None:
    edit_config(config_path, api={"max_rows": 7})
    headers = {"Authorization": f"Bearer {TOKEN}"}

    description = answer_of(guarded.get("/openapi.json", headers=headers))

    paths, schemas = description["paths"], description["components"]["schemas"]
    assert paths["/score"]["get"]["security"] == [{"token": []}]
    assert "security" not in paths["/health"]["get"]
    content = paths["/predict"]["post"]["requestBody"]["content"]
    assert content["application/json"]["schema"]["$ref"].endswith("/RowsBody")
    assert schemas["RowsBody"]["properties"]["data"]["maxItems"] == 7
    assert "text/csv" in content


def test_the_page_of_the_description_asks_no_other_machine(guarded: FlaskClient) -> None:
    page = guarded.get("/docs")

    assert page.status_code == 200
    assert page.content_type == "text/html; charset=utf-8"
    for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        part = guarded.get(name)
        assert part.status_code == 200
        # The name of a language of pictures is no address.
        assert "://" not in part.text.replace("http://www.w3.org/2000/svg", "")
    assert "://" not in page.text
    # Neither scripts nor styles within the page, which the policy would not run.
    assert not re.search(r"<script>|<style>|style=|onclick", page.text)
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
