"""The pages about the model and its data: how good, why, and whether they drift.

The first page.

The pages about clients: the worklist, one client, and whether predictions came true.

The pages about runs: the last ones, and one with its steps, files, model and decision.

The page on which a browser logs in and out.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import current_app, request

from scripts.api import auth, client_routes, routes
from scripts.api.auth import Access, is_from_proxy
from scripts.api.middleware import SERVING
from scripts.api.record_queries import RecordsReader
from scripts.api.responses import Answer, RefusedError, RunEntry, answer_problem
from scripts.api.routes import state_of_health
from scripts.api.serving_state import Serving
from scripts.dashboard import inline_charts, rendering
from scripts.model import explanation
from scripts.reports import chart_files
from scripts.reports.chart_files import Chart, Gallery
from scripts.scheduler.next_run import NextRunCache

N_MODELS, N_DEPLOYMENTS, N_RUNS = 30, 20, 30


def sort_charts(drawn: Gallery | None) -> dict[str, list[Chart]]:
    """Sort the charts by the page that shows them."""
    by_page: dict[str, list[Chart]] = {"overview": [], "models": [], "data": []}
    for chart in () if drawn is None else drawn.charts:
        by_page[chart.page].append(chart)
    return by_page


def show_records(template: str, question: Any, **facts: Any) -> Answer:
    """Render a page of what the records answer, or of why they do not."""
    now: Serving = request.environ[SERVING]
    answered, fault = {}, ""
    try:
        answered = client_routes.ask(question)
    except RefusedError as refusal:
        fault = refusal.detail
    drawn = chart_files.read(now.config.output_model_path)
    return rendering.show(
        template,
        fault=fault,
        charts=sort_charts(drawn),
        drawn_of=None if drawn is None else drawn.release,
        tidy=now.without_folders,
        **(facts | answered),
    )


def models() -> Answer:
    """Show the model that serves, how it came to, and those before it."""
    now: Serving = request.environ[SERVING]
    release = now.release
    stamp = None if release is None else release.manifest.model_stamp

    def question(connection: Any, _now: Serving) -> dict[str, Any]:
        # Imported by the first question, as in clientviews.
        from scripts.dashboard import page_queries as overview  # noqa: PLC0415
        from scripts.records import run_details as runstory  # noqa: PLC0415
        from scripts.records import runs as database  # noqa: PLC0415

        return {
            **overview.find_evidence(connection, stamp),
            "models": runstory.decided_models(connection, N_MODELS),
            "deployments": database.list_deployments(connection, N_DEPLOYMENTS),
        }

    return show_records(
        "models.html",
        question,
        served=release,
        effects=[] if release is None else explanation.list_effects(release.model),
        model=None,
        decision=None,
        models=[],
        deployments=[],
    )


def data() -> Answer:
    """Show the columns of the last dataset, their drift, and one column over the runs."""
    wanted = request.args.get("column", "")

    def question(connection: Any, _now: Serving) -> dict[str, Any]:
        # As above.
        from scripts.dashboard import page_queries as overview  # noqa: PLC0415
        from scripts.records import run_details as runstory  # noqa: PLC0415
        from scripts.records import runs as database  # noqa: PLC0415

        run_id = runstory.last_described_run(connection)
        if run_id is None:
            return {"states": overview.find_states(connection)}
        columns = database.column_statistics_of_run(connection, run_id)
        past = {
            row["column"]: database.list_column_statistics(connection, row["column"], N_RUNS)
            for row in columns
        }
        return {
            "run": database.find_run(connection, run_id),
            "states": overview.find_states(connection),
            "columns": columns,
            "trends": {
                name: inline_charts.draw_trend([row["mean"] for row in reversed(rows)])
                for name, rows in past.items()
            },
            "history": past.get(wanted, []),
        }

    return show_records(
        "data.html", question, wanted=wanted, run=None, states=[], columns=[], trends={}, history=[]
    )


def chart(file: str) -> Answer:
    """Give a chart that a run has drawn."""
    now: Serving = request.environ[SERVING]
    return routes.read_chart(now.config.output_model_path, file)


RECORDS = ("model", "decision", "deployment", "runs", "states", "worklist", "outcomes")


def overview() -> Answer:
    """Show at one look whether all is well, what serves, what happened, and whom to call."""
    now: Serving = request.environ[SERVING]
    schedule: NextRunCache = current_app.extensions["schedule"]
    release = now.release
    stamp = None if release is None else release.manifest.model_stamp

    def question(connection: Any, now: Serving) -> dict[str, Any]:
        # Imported by the first question, as in clientviews.
        from scripts.dashboard import page_queries as overview  # noqa: PLC0415

        return overview.find_overview(connection, now.config.worklist, now.release_name, stamp)

    facts: dict[str, Any] = dict.fromkeys(RECORDS)
    fault = ""
    try:
        facts = client_routes.ask(question)
    except RefusedError as refusal:
        fault = refusal.detail
    return rendering.show(
        "overview.html",
        fault=fault,
        health=state_of_health(),
        schedule=schedule,
        tidy=now.without_folders,
        f1=None if release is None else release.manifest.f1,
        **facts,
    )


RECORDS_FAIL = 503


def link_to(path: str, **changed: str | int) -> str:
    """Spell the address of a list with the same search, but for what is changed; "" leaves out."""
    kept = {name: request.args.get(name, "") for name in ("search", "band", "order")}
    wanted = {name: value for name, value in (kept | changed).items() if value not in ("", 0)}
    return f"{path}?{urlencode(wanted)}" if wanted else path


def worklist() -> Answer:
    """Show today's clients, those likeliest to leave first, to search, sort and download."""
    wanted, fault, page = client_routes.read_query(client_routes.MAX_TOP), "", None
    try:
        page = client_routes.find_worklist(client_routes.MAX_TOP)
    except RefusedError as refusal:
        if refusal.status != RECORDS_FAIL:
            raise
        fault = refusal.detail
    now: Serving = request.environ[SERVING]
    return rendering.show(
        "worklist.html",
        fault=fault,
        worklist=page,
        wanted=wanted,
        bands=client_routes.BANDS,
        link_to=link_to,
        input_folder=now.config.input_folder_path.name,
    )


def client() -> Answer:
    """Show one client: the risk, why, why it changed, the history and the outcome."""
    name = request.args.get("name", "")
    page = client_routes.find_client(name)

    def question(connection: Any, _now: Serving) -> Any:
        # Imported by the first question, as in clientviews.
        from scripts.clients import client_history as dossier  # noqa: PLC0415

        return dossier.split_risk(connection, page.last)

    api = request.environ[SERVING].config.api
    scores = [(s.scored_at, s.probability, s.band) for s in reversed(page.history)]
    reasons = {reason.text: reason.effect for reason in page.reasons}
    return rendering.show(
        "client.html",
        client=page,
        split=client_routes.ask(question),
        reason_bars=inline_charts.draw_bars(reasons),
        line=inline_charts.draw_line(scores, (api.medium_risk_from, api.high_risk_from)),
        limits={"medium": api.medium_risk_from, "high": api.high_risk_from},
    )


def outcomes() -> Answer:
    """Show whether predictions came true."""
    facts: dict[str, Any] = {"fault": "", "outcomes": None}
    try:
        facts["outcomes"] = client_routes.find_outcomes()
    except RefusedError as refusal:
        facts["fault"] = refusal.detail
    return rendering.show("outcomes.html", **facts)


N_SHOWN = 25
NUMBER = re.compile(r"-?[0-9]{1,9}", re.ASCII)


def read_offset() -> int:
    """Read after how many entries a list begins; what is no number is 0."""
    text = request.args.get("offset", "0")
    return max(0, int(text)) if NUMBER.fullmatch(text) else 0


def runs() -> Answer:
    """Show the last runs of the full process, newest first."""
    now: Serving = request.environ[SERVING]
    history: RecordsReader = current_app.extensions["history"]
    offset, fault = read_offset(), ""
    entries: list[RunEntry] = []
    next_offset = None
    try:
        entries, next_offset = history.page(RunEntry, N_SHOWN, offset)
    except RefusedError as refusal:
        fault = refusal.detail
    return rendering.show(
        "runs.html",
        fault=fault,
        runs=entries,
        offset=offset,
        n_shown=N_SHOWN,
        next_offset=next_offset,
        tidy=now.without_folders,
        schedule=current_app.extensions["schedule"],
    )


def run() -> Answer:
    """Show one run: its steps with their durations, its files, verdict, evidence and decision."""
    number = request.args.get("id", "")

    def question(connection: Any, _now: Serving) -> dict[str, Any] | None:
        # Imported by the first question, as in clientviews.
        from scripts.records import run_details as runstory  # noqa: PLC0415

        return runstory.find_run_details(connection, int(number))

    story = client_routes.ask(question) if NUMBER.fullmatch(number) else None
    if story is None:
        raise RefusedError(404, "The records have no run of this number.")
    now: Serving = request.environ[SERVING]
    for file in story["files"]:
        file["name"] = Path(file["path"]).name
    return rendering.show("run.html", tidy=now.without_folders, **story)


HOME = "/"


def is_secure() -> bool:
    """Say whether the browser came by https, as far as this service or a proxy of ours can tell."""
    now: Serving = request.environ[SERVING]
    is_proxied = is_from_proxy(request.environ, now.config.api.trusted_proxies)
    said = request.headers.get("X-Forwarded-Proto", "") if is_proxied else ""
    # Of a chain of proxies the first is the one that the browser came to.
    return (said.partition(",")[0].strip().lower() or request.scheme) == "https"


def read_target(target: str | None) -> str:
    """Read where to go after the login: a page of this service, or else the first one."""
    if not target or not target.isascii() or not target.isprintable():
        return HOME
    # With one slash at its beginning an address has neither a scheme nor a host.
    is_ours = target.startswith("/") and not target.startswith("//") and "\\" not in target
    return target if is_ours else HOME


def see_other(target: str, *headers: tuple[str, str]) -> Answer:
    """Send a browser to another page."""
    return Answer(303, b"", [("Location", target), *headers])


def login() -> Answer:
    """Ask for the token."""
    access: Access = current_app.extensions["access"]
    target = read_target(request.args.get("next"))
    return rendering.show("login.html", target=target, fault="", needs_token=access.needs_token)


def log_in() -> Answer:
    """Begin a session with the token that was typed in."""
    access: Access = current_app.extensions["access"]
    now: Serving = request.environ[SERVING]
    target = read_target(request.form.get("next"))
    try:
        value = access.begin_session(
            request.environ, request.form.get("token", ""), now.config.api.trusted_proxies
        )
    except RefusedError as refusal:
        return rendering.show(
            "login.html",
            refusal.status,
            refusal.headers,
            target=target,
            fault=refusal.detail,
            needs_token=access.needs_token,
        )
    return see_other(target, auth.set_cookie(value, is_secure=is_secure()))


def log_out() -> Answer:
    """End the session, in this browser and for every copy of its cookie."""
    access: Access = current_app.extensions["access"]
    ended = auth.set_cookie("", is_secure=is_secure())
    try:
        access.end_session(request.environ)
    except RefusedError as refusal:
        return answer_problem(refusal.status, refusal.detail, [ended])
    return see_other(rendering.LOGIN, ended)
