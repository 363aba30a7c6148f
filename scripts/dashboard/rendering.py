"""Rendering of the HTML pages: the template environment and its filters."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import msgspec
from flask import request
from markupsafe import Markup

from scripts.api import routes
from scripts.api.middleware import SERVING, USER, Environ
from scripts.api.records_reader import NO_RECORDS
from scripts.api.responses import PROBLEM, Answer, Headers
from scripts.api.routing import READING
from scripts.api.serving_state import Serving
from scripts.core import amounts, column_words, dates, drift_limits, sentences

FOLDER = Path(__file__).resolve().parent / "templates"
LOGIN = "/login"
HTML = "text/html; charset=utf-8"
# The policy of the pages: nothing inline, nothing from other hosts, so no name can become a script.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Headers = [
    ("Content-Type", HTML),
    ("Content-Security-Policy", POLICY),
    # With no-referrer browsers would hide the origin of a form.
    ("Referrer-Policy", "same-origin"),
    ("Vary", "Accept, Cookie"),
]
# The pages in the order of the navigation.
NAVIGATION = (
    ("/", "Overview"),
    ("/dashboard/worklist", "Worklist"),
    ("/dashboard/runs", "Runs"),
    ("/dashboard/models", "Models"),
    ("/dashboard/data", "Data"),
    ("/dashboard/outcomes", "Outcomes"),
    ("/dashboard/calling", "Calling"),
    ("/dashboard/upload", "Upload"),
)

NOTHING = "\N{EN DASH}"
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
# Shorter durations are shown with two decimals.
SHORT_S = 10.0
# The smallest change of a probability visible in percentage points with one decimal.
SMALLEST_SHOWN = 0.0005
# Colour classes of status words. The word itself is always shown, too.
TONES = {
    "deployed": "good", "deploy": "good", "ok": "good", "low": "good", "finished": "good",
    "nothing new": "calm", "no data": "calm", "held": "calm", "hold": "calm", "skipped": "calm",
    "postponed": "calm", "running": "calm", "replaced": "calm", "approved": "good",
    "waiting for approval": "warn", "wait for approval": "warn", "rejected": "warn",
    "medium": "warn", "drift": "warn", "rollback": "warn", "insufficient data": "warn",
    "hold: not enough evidence": "warn", "aborted": "warn",
    "high": "bad", "failed": "bad", "failing": "bad", "timeout": "bad",
    "alarm": "bad", "harms": "bad", "helps": "good", "held out": "warn",
}  # fmt: skip


def as_moment(value: datetime | str) -> datetime:
    """Return a time, parsed from ISO 8601 if necessary."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def format_moment(value: datetime | str | None) -> Markup:
    """Format a time as an HTML time element."""
    if value is None:
        return Markup("&ndash;")
    at = as_moment(value).astimezone(UTC)
    exact = at.isoformat(timespec="seconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        exact, exact, f"{at.day} {at:%b %Y, %H:%M} UTC"
    )


def format_day(value: str | None) -> str:
    """Format a day of ISO 8601, for example 3 Dec 2026."""
    return NOTHING if value is None else dates.format_day(value)


def format_span(seconds: float) -> str:
    """Format a duration in its largest unit."""
    if seconds < MINUTE_S:
        return f"{seconds:.0f} s"
    for unit_s, unit in ((HOUR_S, "min"), (2 * DAY_S, "h")):
        if seconds < unit_s:
            return f"{seconds / (MINUTE_S if unit == 'min' else HOUR_S):.0f} {unit}"
    return f"{seconds / DAY_S:.0f} days"


def format_ago(value: datetime | str | None, now: datetime) -> str:
    """Format the distance of a time from now."""
    if value is None:
        return "never"
    seconds = (now - as_moment(value)).total_seconds()
    return f"in {format_span(-seconds)}" if seconds < 0 else f"{format_span(seconds)} ago"


def format_duration(seconds: float | None) -> str:
    """Format the duration of a step."""
    if seconds is None:
        return NOTHING
    return f"{seconds:.2f} s" if seconds < SHORT_S else format_span(seconds)


def format_took(run: Any) -> str:
    """Format the duration of a run, from the database or from the API."""
    started, ended = (
        run[name] if isinstance(run, dict) else getattr(run, name)
        for name in ("started_at", "ended_at")
    )
    if ended is None:
        return NOTHING
    return format_duration((as_moment(ended) - as_moment(started)).total_seconds())


def format_percent(fraction: float | None, n_digits: int = 1) -> str:
    """Format a fraction as a percentage."""
    return NOTHING if fraction is None else f"{fraction:.{n_digits}%}"


def format_number(value: float | str | None, n_digits: int = 4) -> str:
    """Format a number with a number of significant digits, and text unchanged."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, str):
        return value
    if float(value).is_integer() and abs(value) < 10**15:
        return f"{value:,.0f}"
    return f"{value:,.{n_digits}g}"


def format_fixed(value: float | None, n_digits: int = 4) -> str:
    """Format a number with a number of decimals."""
    return NOTHING if value is None else f"{value:.{n_digits}f}"


def format_signed(value: float | None, n_digits: int = 3) -> str:
    """Format a number with a sign."""
    if value is None:
        return NOTHING
    return f"{value:+.{n_digits}f}".replace("-", "\N{MINUS SIGN}")


def name_direction(change: float) -> str:
    """Return the direction of a change of probability, after rounding."""
    if abs(change) < SMALLEST_SHOWN:
        return "quiet"
    return "rise" if change > 0 else "fall"


def format_percentage_points(change: float | None) -> str:
    """Format a change of probability in percentage points."""
    if change is None:
        return NOTHING
    return f"{format_signed(100 * change, 1)} pp" if name_direction(change) != "quiet" else "0.0 pp"


def format_bytes(n_bytes: int) -> str:
    """Format a size in bytes."""
    size = float(n_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def format_stamp(release: str | None) -> str:
    """Return the number of a release, as a short name."""
    return NOTHING if release is None else f"#{release.partition('_')[0].lstrip('0') or '0'}"


def tone_of(word: str | None) -> str:
    """Return the colour class of a status word."""
    return TONES.get(word or "", "calm")


def quote_part(name: str) -> str:
    """Quote a name as a part of a URL."""
    return quote(name, safe="")


FILTERS: dict[str, Callable[..., object]] = {
    "moment": format_moment,
    "day": format_day,
    "ago": format_ago,
    "duration": format_duration,
    "percent": format_percent,
    "number": format_number,
    "fixed": format_fixed,
    "signed": format_signed,
    "amount": lambda amount: amounts.format_amount(amount, NOTHING),
    "points": format_percentage_points,
    "size": format_bytes,
    "short": format_stamp,
    "tone": tone_of,
    "part": quote_part,
    "direction": name_direction,
    "took": format_took,
    "drifted": drift_limits.has_drifted,
    "clauses": sentences.shorten,
}


@cache
def templates() -> jinja2.Environment:
    """Return the template environment, with escaping and errors for undefined names."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= FILTERS
    environment.globals["no_records"] = NO_RECORDS
    environment.globals["ui"] = environment.get_template("macros.html").module
    return environment


def render(
    environ: Environ, template: str, status: int = 200, headers: Headers = (), **facts: Any
) -> Answer:
    """Render a page.

    Parameters
    ----------
    environ : dict
        The WSGI environ of the request.
    template : str
        The file name of the template.
    status : int
        The HTTP status.
    headers : sequence of tuple of str
        Further headers.
    **facts : object
        The variables of the template.

    Returns
    -------
    Answer
        The page.
    """
    now: Serving = environ[SERVING]
    common = {
        "navigation": NAVIGATION,
        "path": environ.get("PATH_INFO", ""),
        "user": environ.get(USER),
        "words": column_words.words_of(now.config.schema),
        "release": now.release_name,
        "has_report": routes.find_report(now.config.output_model_path) is not None,
        "now": datetime.now(UTC),
    }
    text = templates().get_template(template).render(common | facts)
    return Answer(status, text.encode(), [*HEADERS, *headers], now.release_name)


def show(template: str, status: int = 200, headers: Headers = (), **facts: Any) -> Answer:
    """Render a page for the present request."""
    return render(request.environ, template, status, headers, **facts)


def wants_page(environ: Environ) -> bool:
    """Return whether a browser asks, so errors are shown as pages."""
    return "text/html" in environ.get("HTTP_ACCEPT", "")


def address(environ: Environ) -> str:
    """Return the requested address, encoded as a query parameter."""
    # WSGI decodes the bytes of a path as latin-1.
    path = quote(environ.get("PATH_INFO", "").encode("latin-1", "replace"))
    query = environ.get("QUERY_STRING", "")
    return quote(f"{path}?{query}" if query else path, safe="")


def as_page(environ: Environ, answer: Answer) -> Answer:
    """Render a problem document as a page for browsers."""
    kinds = [value for name, value in answer.headers if name.lower() == "content-type"]
    if kinds != [PROBLEM] or SERVING not in environ or not wants_page(environ):
        return answer
    if answer.status == HTTPStatus.UNAUTHORIZED and environ["REQUEST_METHOD"] in READING:
        return Answer(HTTPStatus.SEE_OTHER, b"", [("Location", f"{LOGIN}?next={address(environ)}")])
    problem = msgspec.json.decode(answer.body)
    kept = [pair for pair in answer.headers if pair[0].lower() != "content-type"]
    return render(
        environ,
        "error.html",
        answer.status,
        kept,
        title=HTTPStatus(answer.status).phrase,
        problem=problem,
    )
