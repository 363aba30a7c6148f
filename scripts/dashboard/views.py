"""Views of the HTML pages: overview, clients, runs, model, data and login."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import current_app, request

from scripts.api import client_routes, routes, run_routes, sessions
from scripts.api.auth import Access, is_from_proxy
from scripts.api.responses import Answer, RefusedError, RunEntry, answer_problem
from scripts.api.routes import state_of_health
from scripts.clients.filter_words import OPERATORS
from scripts.clients.work_input import RESULTS
from scripts.core import column_words
from scripts.core.column_words import ColumnWords
from scripts.dashboard import inline_charts, rendering, shape_charts
from scripts.model import effects
from scripts.model.logistic_model import Model
from scripts.production import backtest_file
from scripts.reports import chart_files
from scripts.reports.chart_files import Chart, Gallery
from scripts.scheduler.next_run import NextRunCache

if TYPE_CHECKING:
    from scripts.api.record_queries import RecordQueries

OVERVIEW_VARIABLES = (
    "candidate",
    "model",
    "decision",
    "deployment",
    "runs",
    "states",
    "checks",
    "worklist",
    "outcomes",
)

RECORDS_UNAVAILABLE = 503

N_SHOWN = 25
NUMBER = re.compile(r"-?[0-9]{1,9}", re.ASCII)

HOME = "/"
WORKLIST = "/dashboard/worklist"
# The parts of an address by which a list can be found again.
LINKED = ("search", "band", "order", "where", "assigned", "contacted")
# Fields of the form that become a condition.
FORM_ONLY = {"column", "is", "value"}
SIGNS = {"=": "is", ">=": "is at least", "<=": "is at most"}
N_OFFERED = 200


def sort_charts(drawn: Gallery | None) -> dict[str, list[Chart]]:
    """Group the charts by page."""
    by_page: dict[str, list[Chart]] = {"overview": [], "models": [], "data": [], "worklist": []}
    for picture in () if drawn is None else drawn.charts:
        by_page[picture.page].append(picture)
    return by_page


def show_records(
    template: str, question: "Callable[[RecordQueries], dict[str, Any]]", **facts: Any
) -> Answer:
    """Render a page with the result of a query, or with the fault of the database."""
    now = routes.serving()
    answered, fault = {}, ""
    try:
        answered = client_routes.run_query(question)
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
    """Show the model in production, its evidence, and the models before."""
    now = routes.serving()
    release = now.release
    stamp = None if release is None else release.manifest.model_stamp

    return show_records(
        "models.html",
        lambda queries: queries.models(stamp),
        served=release,
        ranges=[] if release is None else effects.list_ranges(release.model),
        effects=[] if release is None else effects.list_effects(release.model),
        shapes=None if release is None else shape_charts.draw_shapes(release.model),
        candidate=None,
        model=None,
        decision=None,
        models=[],
        deployments=[],
    )


def data() -> Answer:
    """Show the columns of the last dataset, their drift, and the history of a column."""
    wanted = request.args.get("column", "")

    def question(queries: "RecordQueries") -> dict[str, Any]:
        """Return the facts of the dataset with a chart of each column's past."""
        facts = queries.dataset()
        past = facts.pop("past", {})
        return facts | {
            "trends": {
                name: inline_charts.draw_trend([row["mean"] for row in reversed(rows)])
                for name, rows in past.items()
            },
            "history": past.get(wanted, []),
        }

    return show_records(
        "data.html",
        question,
        wanted=wanted,
        run=None,
        replaced=None,
        states=[],
        columns=[],
        trends={},
        history=[],
    )


def chart(file: str) -> Answer:
    """Return a chart drawn by a run."""
    now = routes.serving()
    return routes.read_chart(now.config.output_model_path, file)


def redirect(target: str, *headers: tuple[str, str]) -> Answer:
    """Send a browser to another page."""
    return Answer(303, b"", [("Location", target), *headers])


def dashboard() -> Answer:
    """Lead from the folder of the pages to the overview."""
    return redirect(HOME)


def overview() -> Answer:
    """Show the overview: state, release, latest runs and first clients to call."""
    now = routes.serving()
    schedule: NextRunCache = current_app.extensions["schedule"]
    release = now.release
    stamp = None if release is None else release.manifest.model_stamp

    facts: dict[str, Any] = dict.fromkeys(OVERVIEW_VARIABLES)
    fault = ""
    try:
        facts = client_routes.run_query(
            lambda queries: queries.overview(now.config, now.release_name, stamp)
        )
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


def link_to(path: str, **changed: str | int | list[str]) -> str:
    """Return the URL of a list with the present filters and some changes, "" removes a filter."""
    kept: dict[str, str | int | list[str]] = {
        name: request.args.get(name, "") for name in LINKED if name != "where"
    }
    kept["where"] = [text for text in request.args.getlist("where") if text]
    wanted = {name: value for name, value in (kept | changed).items() if value not in ("", 0, [])}
    return f"{path}?{urlencode(wanted, doseq=True)}" if wanted else path


def read_condition() -> str:
    """Return the condition of the form's fields for a column, or ""."""
    column, operator = request.args.get("column", ""), request.args.get("is", "=")
    value = request.args.get("value", "").strip()
    return f"{column}{operator}{value}" if column and operator in OPERATORS else ""


def list_conditions(where: Sequence[str], words: ColumnWords, names: Sequence[str]) -> list[Any]:
    """Return each condition in words, with the address of the list without it."""
    conditions = []
    for text in where:
        column = max((n for n in names if text.startswith(n)), key=len, default="")
        rest = text.removeprefix(column)
        operator = next((sign for sign in OPERATORS if rest.startswith(sign)), "=")
        others = [other for other in where if other != text]
        conditions.append(
            {
                "text": f"{words.name(column)} {SIGNS[operator]}"
                f" {rest.removeprefix(operator) or 'no entry'}",
                "without": link_to(WORKLIST, where=others, offset=0),
            }
        )
    return conditions


def list_columns(model: Model | None) -> tuple[list[str], list[str]]:
    """Return the columns of a model, and the categories to offer for them."""
    if model is None:
        return [], []
    known = {category for term in model.categorical for category in term.categories}
    return list(model.schema.features), sorted(known - {""})[:N_OFFERED]


def worklist() -> Answer:
    """Show today's clients, those likeliest to leave first, to search, sort and download."""
    if FORM_ONLY & set(request.args):
        # The fields of the form become a condition, so that the address can be kept as a link.
        where = [text for text in request.args.getlist("where") if text]
        condition = read_condition()
        where += [condition] if condition and condition not in where else []
        return redirect(link_to(WORKLIST, where=where, offset=0))
    wanted, fault, page = client_routes.read_query(client_routes.MAX_TOP), "", None
    try:
        page = client_routes.find_worklist(client_routes.MAX_TOP)
    except RefusedError as refusal:
        if refusal.status != RECORDS_UNAVAILABLE:
            raise
        fault = refusal.detail
    now = routes.serving()
    names, categories = list_columns(None if now.release is None else now.release.model)
    names = page.columns if page is not None and page.columns else names
    words = column_words.words_of(now.config.schema)
    return rendering.show(
        "worklist.html",
        fault=fault,
        worklist=page,
        wanted=wanted,
        bands=client_routes.BANDS,
        link_to=link_to,
        conditions=list_conditions(wanted["where"], words, names),
        column_names=names,
        categories=categories,
        shown_columns=now.config.worklist.columns,
        operators=SIGNS,
        results=RESULTS,
        assignees=[] if fault else client_routes.run_query(lambda queries: queries.assignees()),
        input_folder=now.config.input_folder_path.name,
        charts=sort_charts(chart_files.read(now.config.output_model_path))["worklist"],
    )


def outcomes() -> Answer:
    """Show whether predictions came true."""
    facts: dict[str, Any] = {"fault": "", "outcomes": None}
    try:
        facts["outcomes"] = client_routes.find_outcomes()
    except RefusedError as refusal:
        facts["fault"] = refusal.detail
    return rendering.show("outcomes.html", **facts)


def calling() -> Answer:
    """Show whether calling helps: listed against held-out clients."""
    facts: dict[str, Any] = {"fault": "", "calling": None}
    try:
        facts["calling"] = client_routes.find_calling()
    except RefusedError as refusal:
        facts["fault"] = refusal.detail
    return rendering.show("calling.html", **facts)


def read_offset() -> int:
    """Read the offset of a list, or 0 if it is no number."""
    text = request.args.get("offset", "0")
    return max(0, int(text)) if NUMBER.fullmatch(text) else 0


def runs() -> Answer:
    """Show the last runs of the full process, newest first."""
    now = routes.serving()
    records = routes.records_reader()
    offset, fault = read_offset(), ""
    entries: list[RunEntry] = []
    next_offset = None
    try:
        entries, next_offset = records.page(RunEntry, N_SHOWN, offset)
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
    """Show a run: steps with durations, files, verdict, evidence, decision and shadow."""
    details = run_routes.find_run(request.args.get("id", ""))
    now = routes.serving()
    for file in details["files"]:
        file["name"] = Path(file["path"]).name
    return rendering.show("run.html", tidy=now.without_folders, **details)


def backtest() -> Answer:
    """Show the last backtest: what the model would have predicted, month by month."""
    folder = routes.serving().config.output_model_path
    drawn = sort_charts(chart_files.read(folder))["models"]
    return rendering.show(
        "backtest.html",
        backtest=backtest_file.read(folder),
        charts=[chart for chart in drawn if chart.name == "backtest"],
    )


def is_secure() -> bool:
    """Return whether the browser uses https, directly or through a trusted proxy."""
    now = routes.serving()
    is_proxied = is_from_proxy(request.environ, now.config.api.trusted_proxies)
    protocol = request.headers.get("X-Forwarded-Proto", "") if is_proxied else ""
    # The first proxy of a chain is the one the browser connected to.
    return (protocol.partition(",")[0].strip().lower() or request.scheme) == "https"


def read_target(target: str | None) -> str:
    """Return the page after the login, on this service only, by default the overview."""
    if not target or not target.isascii() or not target.isprintable():
        return HOME
    # An address with a single slash at the beginning has neither scheme nor host.
    is_ours = target.startswith("/") and not target.startswith("//") and "\\" not in target
    return target if is_ours else HOME


def login() -> Answer:
    """Show the login form."""
    access: Access = current_app.extensions["access"]
    target = read_target(request.args.get("next"))
    return rendering.show("login.html", target=target, fault="", needs_token=access.needs_token)


def log_in() -> Answer:
    """Begin a session with the token of the form."""
    access: Access = current_app.extensions["access"]
    now = routes.serving()
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
    return redirect(target, sessions.set_cookie(value, is_secure=is_secure()))


def log_out() -> Answer:
    """End the session, for every copy of the cookie."""
    access: Access = current_app.extensions["access"]
    ended = sessions.set_cookie("", is_secure=is_secure())
    try:
        access.end_session(request.environ)
    except RefusedError as refusal:
        return answer_problem(refusal.status, refusal.detail, [ended])
    return redirect(rendering.LOGIN, ended)
