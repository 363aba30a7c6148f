"""Routes of single runs, and their views."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flask import current_app, request

from scripts.api import client_routes
from scripts.api.openapi import Parameter, Tag
from scripts.api.records_reader import Entry, read_entry
from scripts.api.responses import Answer, RefusedError, ReleaseEntry, RunEntry, answer_json
from scripts.api.routing import Route
from scripts.api.run_comparer import RunComparer
from scripts.api.run_responses import (
    AlertEntry,
    ApprovalEntry,
    RunDecision,
    RunDetails,
    RunFile,
    RunModel,
)
from scripts.api.tokens import Role
from scripts.core.errors import RecordsError
from scripts.production import shadow_types
from scripts.production.comparison_types import RunComparison

NUMBER = re.compile(r"-?[0-9]{1,9}", re.ASCII)
NO_RUN = "The records have no run of this number."
RUN_NUMBER: dict[str, object] = {"type": "integer", "minimum": -999_999_999, "maximum": 999_999_999}
PAIR = tuple(
    Parameter(name, f"The number of the {order} run.", RUN_NUMBER, is_required=True)
    for name, order in (("a", "first"), ("b", "second"))
)
RUN = (Parameter("run", "The number of the run.", RUN_NUMBER, "path"),)


def find_run(text: str) -> dict[str, Any]:
    """Return the details of a run as recorded.

    Raises
    ------
    RefusedError
        With status 404 for an unknown run, 503 if the database cannot be used.
    """
    details = None
    if NUMBER.fullmatch(text):
        details = client_routes.run_query(lambda queries: queries.run(int(text)))
    if details is None:
        raise RefusedError(404, NO_RUN)
    return details


def read_entries(kind: type[Entry], rows: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Return rows of the records as entries."""
    return [read_entry(kind, row) for row in rows]


def read_optional(kind: type[Entry], row: Mapping[str, Any] | None) -> Entry | None:
    """Return a row of the records as an entry, None without a row."""
    return None if row is None else read_entry(kind, row)


def as_details(found: Mapping[str, Any], release: str | None) -> RunDetails:
    """Return the details of a run as the response type."""
    return RunDetails(
        run=read_entry(RunEntry, found["run"]),
        files=read_entries(RunFile, found["files"]),
        model=read_optional(RunModel, found["model"]),
        decision=read_optional(RunDecision, found["decision"]),
        shadow=shadow_types.read_shadow(found["shadow"]),
        approvals=read_entries(ApprovalEntry, found["approvals"]),
        deployments=read_entries(ReleaseEntry, found["deployments"]),
        alerts=read_entries(AlertEntry, found["alerts"]),
        release=release,
    )


def show_run(run: str) -> Answer:
    """Return a run with its files, model, decision, shadow, approvals, deployments and alerts."""
    found, serving = find_run(run), client_routes.present_serving()
    try:
        details = as_details(found, serving.release_name)
    except RecordsError as error:
        raise RefusedError(503, serving.without_folders(str(error))) from error
    return answer_json(details, release=serving.release_name)


def read_pair() -> tuple[int, int]:
    """Read ?a= and &b= off the query string.

    Raises
    ------
    RefusedError
        With status 422 if a number is missing, or there is more.
    """
    given = request.args.to_dict(flat=False)
    texts = [given.get(name, [""]) for name in ("a", "b")]
    are_numbers = all(len(text) == 1 and NUMBER.fullmatch(text[0]) for text in texts)
    if set(given) != {"a", "b"} or not are_numbers:
        raise RefusedError(422, "Expected two numbers of runs behind the path: ?a=12&b=15.")
    return int(texts[0][0]), int(texts[1][0])


def find_comparison(run_a: int, run_b: int) -> RunComparison:
    """Compare two runs.

    Raises
    ------
    RefusedError
        With status 404 for an unknown run, 503 if they cannot be compared now.
    """
    found = client_routes.run_query(lambda queries: queries.known_runs((run_a, run_b)))
    for number in (run_a, run_b):
        if number not in found:
            raise RefusedError(404, f"The records have no run {number}.")
    comparer: RunComparer = current_app.extensions["comparer"]
    return comparer.compare(run_a, run_b)


def compare() -> Answer:
    """Compare two runs: settings, files, schema, terms, metrics on the same rows, lists."""
    found = find_comparison(*read_pair())
    return answer_json(found, release=client_routes.present_serving().release_name)


ROUTES = (
    Route(
        "GET", "/runs/compare", compare, RunComparison, Role.READ, (404, 422, 503), PAIR,
        tag=Tag.MODEL,
    ),
    Route("GET", "/runs/{run}", show_run, RunDetails, Role.READ, (404, 503), RUN, tag=Tag.MODEL),
)  # fmt: skip
