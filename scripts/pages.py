"""Renders what the service knows as pages for people."""

from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import msgspec
from flask import request

from scripts import handouts
from scripts.answers import PROBLEM, Answer, Headers
from scripts.frontdoor import ROLE, SERVING, Environ
from scripts.live import Serving
from scripts.pagewords import FILTERS
from scripts.recall import NO_RECORDS
from scripts.routing import READING

FOLDER = Path(__file__).resolve().parent / "templates"
LOGIN = "/login"
HTML = "text/html; charset=utf-8"
# Of the pages: nothing inline and nothing from elsewhere, so that no name can become a script.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Headers = [
    ("Content-Type", HTML),
    ("Content-Security-Policy", POLICY),
    # Browsers hide where a form comes from if the policy is no-referrer.
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
    ("/dashboard/upload", "Upload"),
)


@cache
def templates() -> jinja2.Environment:
    """Give the templates; whatever is put into one is escaped, and what is missing is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= FILTERS
    made.globals["no_records"] = NO_RECORDS
    made.globals["ui"] = made.get_template("macros.html").module
    return made


def render(
    environ: Environ, template: str, status: int = 200, headers: Headers = (), **facts: Any
) -> Answer:
    """Render a page.

    Parameters
    ----------
    environ : dict
        Of the request, as WSGI has it.
    template : str
        The file.
    status : int
        The HTTP status.
    headers : sequence of tuple of str
        Further headers.
    **facts : object
        What the page shows.

    Returns
    -------
    Answer
        The page.
    """
    now: Serving = environ[SERVING]
    common = {
        "navigation": NAVIGATION,
        "path": environ.get("PATH_INFO", ""),
        "role": environ.get(ROLE),
        "release": now.release_name,
        "has_report": handouts.find_report(now.config.output_model_path) is not None,
        "now": datetime.now(UTC),
    }
    text = templates().get_template(template).render(common | facts)
    return Answer(status, text.encode(), [*HEADERS, *headers], now.release_name)


def show(template: str, status: int = 200, headers: Headers = (), **facts: Any) -> Answer:
    """Render a page for the request under way."""
    return render(request.environ, template, status, headers, **facts)


def wants_page(environ: Environ) -> bool:
    """Say whether a browser asks, which is to be shown errors as pages."""
    return "text/html" in environ.get("HTTP_ACCEPT", "")


def address(environ: Environ) -> str:
    """Spell what was asked for as the value of a parameter."""
    # WSGI spells the bytes of a path as latin-1.
    path = quote(environ.get("PATH_INFO", "").encode("latin-1", "replace"))
    query = environ.get("QUERY_STRING", "")
    return quote(f"{path}?{query}" if query else path, safe="")


def as_page(environ: Environ, answer: Answer) -> Answer:
    """Turn a problem document into a page if a browser asked."""
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
