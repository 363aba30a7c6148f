"""The page of a client with the work done for the client, and the forms to record work."""

import math
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from flask import request

from scripts.api import client_routes, sender, work_routes
from scripts.api.responses import Answer, RefusedError
from scripts.api.tokens import Role
from scripts.clients import work_file
from scripts.clients.response_types import ClientDetails
from scripts.clients.work_input import MAX_NAME, MAX_NOTE, RESULTS, WorkInput
from scripts.dashboard import inline_charts, rendering

# The fields of each form; a field left empty is not recorded, unless the form is about it.
FORMS = {
    "contact": ("result", "note", "contacted_on"),
    "assign": ("assigned_to",),
    "snooze": ("snoozed_until",),
    "unsnooze": ("snoozed_until",),
}
SAVED = "saved"


def address_of(client: str, saved: str) -> str:
    """Return the address of a client's page behind a form."""
    return f"/dashboard/client?name={quote(client, safe='')}&{SAVED}={saved}#work"


def risk_without(probability: float, effect: float) -> float:
    """Return the probability of a client without a term of the log-odds."""
    if not 0 < probability < 1:
        return probability
    return 1 / (1 + (1 - probability) / probability * math.exp(effect))


def list_bars(page: ClientDetails) -> list[dict[str, Any]]:
    """Return the reasons of a client with their bars, and the risk without each of them."""
    risk = page.last.probability
    without = [risk_without(risk, reason.effect) for reason in page.reasons]
    points = {r.text: risk - rest for r, rest in zip(page.reasons, without, strict=True)}
    bars = {bar.name: bar for bar in inline_charts.draw_bars(points)}
    return [
        {"bar": bars[reason.text], "without": rest}
        for reason, rest in zip(page.reasons, without, strict=True)
    ]


def show_page(client: str, status: int = 200, **facts: Any) -> Answer:
    """Render the page of a client, with the sent form and the fault, if any."""
    page, config = client_routes.find_client(client), client_routes.present_config()
    scores = [(s.scored_at, s.probability, s.band) for s in reversed(page.history)]
    shown: dict[str, Any] = {"fault": "", "sent": {}, "saved": request.args.get(SAVED, "")}
    return rendering.show(
        "client.html",
        status,
        client=page,
        split=client_routes.run_query(lambda queries: queries.split_risk(config, page.last)),
        reasons=list_bars(page),
        line=inline_charts.draw_line(scores, (page.limits.medium, page.limits.high)),
        assignees=client_routes.run_query(lambda queries: queries.assignees()),
        results=RESULTS,
        max_note=MAX_NOTE,
        max_name=MAX_NAME,
        may_work=sender.may(Role.WORK),
        today=datetime.now(UTC).date().isoformat(),
        settings=config.worklist,
        shown_columns=config.worklist.columns,
        **(shown | facts),
    )


def show() -> Answer:
    """Show a client: risk, reasons, change, history, outcome and work."""
    return show_page(request.args.get("name", ""))


def read_form() -> WorkInput:
    """Return the entry of a form.

    Raises
    ------
    RefusedError
        With status 422 for a form that no page has.
    """
    form = request.form
    kind, seen = form.get("form", ""), form.get("seen", "0")
    if kind not in FORMS or not client_routes.WHOLE_NUMBER.fullmatch(seen):
        raise RefusedError(422, f"Expected form to be one of {', '.join(FORMS)}.")
    given = {name: form.get(name, "").strip() for name in FORMS[kind]}
    if kind == "contact":
        given = {name: value for name, value in given.items() if value}
    if kind == "snooze" and not given["snoozed_until"]:
        raise RefusedError(422, "Choose the day on which the client is back.")
    if kind == "contact" and "result" not in given:
        raise RefusedError(422, "Choose what came of the contact.")
    return WorkInput(client=form.get("name", ""), seen=int(seen), **given)


def record() -> Answer:
    """Record the form about a client, and show the client again."""
    client = request.form.get("name", "")
    try:
        entry = read_form()
        recorded = work_routes.record(lambda: [entry])
    except RefusedError as refusal:
        return show_page(client, refusal.status, fault=refusal.detail, sent=dict(request.form))
    saved = request.form["form"] if recorded.n_recorded else "known"
    # A page behind a redirect can be loaded again without a second entry.
    return Answer(303, b"", [("Location", address_of(client, saved))])


def read_results() -> bytes:
    """Return the file of the form.

    Raises
    ------
    RefusedError
        With status 422 without a file.
    """
    file = request.files.get("results")
    content = b"" if file is None else file.read()
    if not content:
        raise RefusedError(422, "Choose a CSV file first.")
    return content


def show_results(status: int = 200, **facts: Any) -> Answer:
    """Render the page of the CSV file of results."""
    shown: dict[str, Any] = {"fault": "", "recorded": None} | facts
    return rendering.show(
        "results.html",
        status,
        columns=work_file.COLUMNS,
        results=RESULTS,
        may_work=sender.may(Role.WORK),
        **shown,
    )


def import_results() -> Answer:
    """Record all results of an uploaded CSV file, or none."""
    fault, recorded = "", None
    status = 200
    try:
        content = read_results()
        recorded = work_routes.record(lambda: work_file.parse(content))
    except RefusedError as refusal:
        fault, status = refusal.detail, refusal.status
    return show_results(status, fault=fault, recorded=recorded)


def show_import() -> Answer:
    """Show the form for a CSV file of results."""
    return show_results()
