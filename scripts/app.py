"""The service: answers predictions and questions over HTTP from the release in production.

The table of the pages, and of what they are made of.
"""

import asyncio
import gc
import io
import logging
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from scripts.api import http_server, inference_protocol
from scripts.api.auth import Access, EndedSessions
from scripts.api.http_server import bind, serve_until_stopped
from scripts.api.middleware import MATCHED, ROUTE, Middleware, answer_bug
from scripts.api.prediction_log import PredictionLog
from scripts.api.record_queries import RecordsReader
from scripts.api.responses import Answer, RefusedError, answer_problem, answer_refusal
from scripts.api.routes import ROUTES, STATIC, as_response
from scripts.api.routing import Route, RouteTable
from scripts.api.serving_state import ReleaseReloader
from scripts.api.telemetry import AccessLog, Gauge, Metrics, share_between_processes
from scripts.api.tokens import VARIABLES, Role, Tokens, read_tokens
from scripts.core import artifacts
from scripts.core.config import LOOPBACK_HOSTS
from scripts.core.config_file import read_config
from scripts.core.console import make_command
from scripts.core.errors import ConfigError
from scripts.dashboard import upload, views
from scripts.dashboard.rendering import as_page
from scripts.scheduler.next_run import NextRunCache

log = logging.getLogger(__name__)


def record_route() -> None:
    """Note which route a request found, for the numbers and the log.

    Raises
    ------
    RefusedError
        If Flask found another route than the table, whose role the request was let in by.
    """
    if request.url_rule is None:
        return
    matched: Route | None = request.environ[MATCHED]
    if matched is None or matched.rule != request.url_rule.rule:
        raise RefusedError(404, "There is no such path.")
    request.environ[ROUTE] = request.url_rule.rule


def answer_http_error(error: HTTPException) -> Response:
    """Answer an error of Flask's as a problem document, keeping its headers, such as Allow."""
    headers = [(k, v) for k, v in error.get_headers() if k.lower() != "content-type"]
    return as_response(answer_problem(error.code or 500, error.description or "", headers))


def answer_refused(error: RefusedError) -> Response:
    """Answer a refused request."""
    return as_response(answer_refusal(error))


def answer_unexpected(error: Exception) -> Response:
    """Answer an error nobody expected."""
    return as_response(answer_bug(error, request.url_rule))


def present_gauges(live: ReleaseReloader, history: RecordsReader) -> list[Gauge]:
    """Read the numbers of the present state: what serves, and since when."""
    now = live.last()
    gauges = [
        Gauge("adras_ready", "Whether there is a release to answer from.", now.release is not None)
    ]
    if now.release is not None:
        labels = {"release": now.release.name}
        gauges.append(Gauge("adras_release_info", "The release that answers.", 1.0, labels))
    # A disk that hangs would hold the numbers up, too.
    folder = now.config.prod_deployment_path
    switched_s = None if live.fault() else artifacts.link_changed_s(folder)
    if switched_s is not None:
        text = "Since the last deployment or rollback."
        gauges.append(Gauge("adras_release_age_seconds", text, time.time() - switched_s))
    run_age_s = history.last.age_s()
    if run_age_s is not None:
        text = "Since the last successful run of the full process."
        gauges.append(Gauge("adras_last_successful_run_age_seconds", text, run_age_s))
    return gauges


class MemoryRequest(Request):
    """A request whose files stay in memory, as its body does: a full disk is no matter."""

    def _get_file_stream(self, *_: object, **__: object) -> IO[bytes]:
        return io.BytesIO()


class NameConverter(BaseConverter):
    """A part of a path that is a name: any text, slashes included, also as its first character."""

    regex = ".+"
    part_isolating = False


def make_flask(metrics: Metrics, table: RouteTable) -> Flask:
    """Make the Flask application with all routes; what stands before it is not here."""
    app = Flask("adras", static_folder=None, template_folder=None)
    app.request_class = MemoryRequest
    app.extensions |= {"metrics": metrics}
    app.url_map.converters["name"] = NameConverter
    for route in table.routes:
        app.add_url_rule(
            route.rule,
            endpoint=f"{route.method} {route.path}",
            view_func=lambda view=route.view, **parts: as_response(view(**parts)),
            methods=[route.method],
            # A name may have any strokes: it is asked for as it is.
            merge_slashes=not route.has_name,
        )
    app.before_request(record_route)
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(RefusedError, answer_refused)
    app.register_error_handler(Exception, answer_unexpected)
    return app


def as_error(environ: dict[str, Any], answer: Answer) -> Answer:
    """Show an error to a browser as a page, and to other clients where they look for it."""
    return inference_protocol.add_error(environ, as_page(environ, answer))


def check_is_closed(config_path: Path) -> Tokens:
    """Read the tokens, and refuse to be open to other machines without one.

    Raises
    ------
    ConfigError
        If the configuration is broken, or opens the service to other machines without a token.
    """
    api = read_config(config_path).api
    tokens = read_tokens(api)
    if api.host not in LOOPBACK_HOSTS and not tokens.by_role:
        raise ConfigError(
            f"{config_path}: api.host {api.host!r} lets other machines reach the service, and no"
            f" token is set. Set {VARIABLES[Role.READ]} in the environment, or api.token_file, or"
            " api.host to 127.0.0.1."
        )
    return tokens


def create_app(config_path: Path) -> Flask:
    """Make the service.

    Parameters
    ----------
    config_path : Path
        The config.json, watched from now on; the tokens of the API come from the environment or
        from api.token_file.

    Returns
    -------
    Flask
        Needs no release to start; answers 503 until there is one.

    Raises
    ------
    ConfigError
        If the configuration is broken, or opens the service to other machines without a token.
    """
    tokens = check_is_closed(config_path)
    metrics = Metrics(lambda: present_gauges(live, history))
    live = ReleaseReloader(config_path, metrics.count_reload_failure)
    history = RecordsReader(live, metrics.count_thread_failure)
    table = RouteTable((*ROUTES, *PAGES, STATIC))
    app = make_flask(metrics, table)
    access = Access(tokens, EndedSessions(lambda: live.last().config.prod_deployment_path))
    door = Middleware(app.wsgi_app, live, access, table, metrics, as_error)
    door.prediction_log = PredictionLog(
        lambda: live.last().config, metrics.count_logging, metrics.count_thread_failure
    )
    # As Flask documents it for what goes around the application.
    app.wsgi_app = door  # type: ignore[method-assign]
    app.extensions |= {
        "live": live,
        "door": door,
        "table": table,
        "history": history,
        "access": access,
        "needs_token": access.needs_token,
        "schedule": NextRunCache(config_path),
    }
    return app


def serve_alone(config_path: Path, listener: socket.socket) -> None:
    """Serve in this process, until stopped."""
    app = create_app(config_path)
    door: Middleware = app.extensions["door"]
    if app.extensions["live"].last().config.api.access_log:
        metrics: Metrics = app.extensions["metrics"]
        stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
        door.access_log = AccessLog(stream, metrics.count_access_log)
        door.access_log.start()
    history: RecordsReader = app.extensions["history"]
    history.start()
    if door.prediction_log is not None:
        door.prediction_log.start()
    live: ReleaseReloader = app.extensions["live"]
    # What was made so far is kept to the end: nobody need look through it for what can go.
    gc.collect()
    gc.freeze()
    http_server.return_large_blocks()
    asyncio.run(serve_until_stopped(listener, door, live))
    history.stop()
    if door.prediction_log is not None:
        door.prediction_log.stop()
    if door.access_log is not None:
        door.access_log.stop()


def serve_in_processes(config_path: Path, listener: socket.socket, n_processes: int) -> None:
    """Serve in several processes, whose numbers are added up, until stopped."""
    with tempfile.TemporaryDirectory(prefix="adras-metrics-") as folder:

        def work() -> None:
            share_between_processes(Path(folder))
            serve_alone(config_path, listener)

        http_server.run(n_processes, work)


def serve(config_path: Path) -> None:
    """Serve predictions and answers over HTTP, until stopped."""
    check_is_closed(config_path)
    config = read_config(config_path)
    listener = bind(config.api)
    log.info("Serving on %s.", config.api_url)
    if config.api.workers == 1:
        serve_alone(config_path, listener)
    else:
        serve_in_processes(config_path, listener, config.api.workers)
    log.info("Stopped.")
    http_server.leave()


PAGE = "text/html"
PAGES = (
    Route("GET", "/", views.overview, PAGE),
    Route("GET", "/dashboard/worklist", views.worklist, PAGE),
    Route("GET", "/dashboard/client", views.client, PAGE),
    Route("GET", "/dashboard/outcomes", views.outcomes, PAGE),
    Route("GET", "/dashboard/runs", views.runs, PAGE),
    Route("GET", "/dashboard/run", views.run, PAGE),
    Route("GET", "/dashboard/models", views.models, PAGE),
    Route("GET", "/dashboard/data", views.data, PAGE),
    Route("GET", "/dashboard/upload", upload.upload, PAGE),
    Route("POST", "/dashboard/upload", upload.add, PAGE, Role.ADMIN),
    Route("POST", "/dashboard/rank", upload.rank, PAGE),
    Route("GET", "/charts/{file}", views.chart, "image/svg+xml"),
    Route("GET", "/login", views.login, PAGE, None),
    Route("POST", "/login", views.log_in, PAGE, None),
    Route("POST", "/logout", views.log_out, PAGE, Role.READ),
)


if __name__ == "__main__":
    make_command(serve, ()).main()
