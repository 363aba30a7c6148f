"""The service: predictions and queries over HTTP, answered by the release in production."""

import asyncio
import gc
import io
import logging
import os
import socket
import sys
import time
from pathlib import Path
from typing import IO, Any

from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from scripts.api import inference_protocol, metrics_folder, worker_processes
from scripts.api.auth import Access
from scripts.api.http_server import bind, bind_for_processes, serve_until_stopped
from scripts.api.login_log import LoginLog
from scripts.api.middleware import MATCHED, ROUTE, Middleware, answer_bug
from scripts.api.prediction_log import PredictionLog
from scripts.api.records_reader import RecordsReader
from scripts.api.responses import Answer, RefusedError, answer_problem, answer_refusal
from scripts.api.routes import ROUTES, STATIC, as_response
from scripts.api.routing import Route, RouteTable
from scripts.api.run_comparer import RunComparer
from scripts.api.serving_state import ReleaseReloader
from scripts.api.sessions import EndedSessions
from scripts.api.telemetry import AccessLog, Gauge, Metrics, share_between_processes
from scripts.api.tokens import VARIABLES, Role, Tokens, read_tokens
from scripts.core import artifacts
from scripts.core.config import LOOPBACK_HOSTS
from scripts.core.config_file import read_config
from scripts.core.console import freeze_gc, make_command, run_program
from scripts.core.errors import ConfigError
from scripts.dashboard import (
    approval,
    client_page,
    comparison,
    guide,
    print_list,
    upload,
    views,
)
from scripts.dashboard.rendering import as_page
from scripts.scheduler.next_run import NextRunCache

PAGE = "text/html"
PAGES = (
    Route("GET", "/", views.overview, PAGE),
    Route("GET", "/dashboard", views.dashboard, PAGE),
    Route("GET", "/dashboard/worklist", views.worklist, PAGE),
    Route("GET", "/dashboard/worklist/print", print_list.show, PAGE),
    Route("GET", "/dashboard/client", client_page.show, PAGE),
    Route("POST", "/dashboard/client", client_page.record, PAGE, Role.WORK),
    Route("GET", "/dashboard/results", client_page.show_import, PAGE),
    Route("POST", "/dashboard/results", client_page.import_results, PAGE, Role.WORK),
    Route("GET", "/dashboard/outcomes", views.outcomes, PAGE),
    Route("GET", "/dashboard/calling", views.calling, PAGE),
    Route("GET", "/dashboard/backtest", views.backtest, PAGE),
    Route("GET", "/dashboard/runs", views.runs, PAGE),
    Route("GET", "/dashboard/run", views.run, PAGE),
    Route("GET", "/dashboard/compare", comparison.show, PAGE),
    Route("GET", "/dashboard/models", views.models, PAGE),
    Route("GET", "/dashboard/candidate", approval.show, PAGE),
    Route("POST", "/dashboard/candidate", approval.decide, PAGE, Role.ADMIN),
    Route("GET", "/dashboard/data", views.data, PAGE),
    Route("GET", "/dashboard/upload", upload.upload, PAGE),
    Route("POST", "/dashboard/upload", upload.add, PAGE, Role.ADMIN),
    Route("POST", "/dashboard/rank", upload.rank, PAGE),
    Route("GET", "/charts/{file}", views.chart, "image/svg+xml"),
    Route("GET", "/docs/guide", guide.show, PAGE, None),
    Route("GET", "/docs/guide/{page}", guide.show, PAGE, None),
    Route("GET", "/docs/pictures/{file}", guide.show_picture, "image/png", None),
    Route("GET", "/login", views.login, PAGE, None),
    Route("POST", "/login", views.log_in, PAGE, None),
    Route("POST", "/logout", views.log_out, PAGE, Role.READ),
)

log = logging.getLogger(__name__)


def record_route() -> None:
    """Record the matched route for metrics and logs.

    Raises
    ------
    RefusedError
        If Flask matched another route than the table, by which the role was checked.
    """
    if request.url_rule is None:
        return
    matched: Route | None = request.environ[MATCHED]
    if matched is None or matched.rule != request.url_rule.rule:
        raise RefusedError(404, "There is no such path.")
    request.environ[ROUTE] = request.url_rule.rule


def answer_http_error(error: HTTPException) -> Response:
    """Answer an HTTP error of Flask with a problem document and the headers, for example Allow."""
    headers = [(k, v) for k, v in error.get_headers() if k.lower() != "content-type"]
    return as_response(answer_problem(error.code or 500, error.description or "", headers))


def answer_refused(error: RefusedError) -> Response:
    """Answer a refused request."""
    return as_response(answer_refusal(error))


def answer_unexpected(error: Exception) -> Response:
    """Answer an unexpected error with 500."""
    return as_response(answer_bug(error, request.url_rule))


def present_gauges(reloader: ReleaseReloader, records: RecordsReader) -> list[Gauge]:
    """Return the gauges of the present state: release, readiness and ages."""
    now = reloader.last()
    gauges = [
        Gauge("adras_ready", "Whether there is a release to answer from.", now.release is not None)
    ]
    if now.release is not None:
        labels = {"release": now.release.name}
        gauges.append(Gauge("adras_release_info", "The release that answers.", 1.0, labels))
    # A hanging disk would block the metrics, too.
    folder = now.config.prod_deployment_path
    switched_s = None if reloader.fault() else artifacts.link_changed_s(folder)
    if switched_s is not None:
        text = "Since the last deployment or rollback."
        gauges.append(Gauge("adras_release_age_seconds", text, time.time() - switched_s))
    run_age_s = records.last.age_s()
    if run_age_s is not None:
        text = "Since the last successful run of the full process."
        gauges.append(Gauge("adras_last_successful_run_age_seconds", text, run_age_s))
    return gauges


class MemoryRequest(Request):
    """A request with uploaded files in memory, independent of free disk space."""

    def _get_file_stream(self, *_: object, **__: object) -> IO[bytes]:
        return io.BytesIO()


class NameConverter(BaseConverter):
    """A path parameter of any text, with slashes anywhere."""

    regex = ".+"
    part_isolating = False


def make_flask(metrics: Metrics, table: RouteTable) -> Flask:
    """Make the Flask application with its routes, without the middleware."""
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
            # A name may hold several slashes in a row.
            merge_slashes=not route.has_name,
        )
    app.before_request(record_route)
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(RefusedError, answer_refused)
    app.register_error_handler(Exception, answer_unexpected)
    return app


def as_error(environ: dict[str, Any], answer: Answer) -> Answer:
    """Add the error formats of browsers and inference clients to an answer."""
    return inference_protocol.add_error(environ, as_page(environ, answer))


def check_is_closed(config_path: Path) -> Tokens:
    """Return the tokens, or raise if the service is open to the network without a token.

    Raises
    ------
    ConfigError
        If the config is invalid, or opens the service to the network without a token.
    """
    api = read_config(config_path).api
    tokens = read_tokens(api)
    if api.host not in LOOPBACK_HOSTS and not tokens.by_user:
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
        The config.json, reloaded after each change. The tokens come from the environment or from
        api.token_file.

    Returns
    -------
    Flask
        The application. It answers 503 until the first release.

    Raises
    ------
    ConfigError
        If the config is invalid, or opens the service to the network without a token.
    """
    tokens = check_is_closed(config_path)
    metrics = Metrics(lambda: present_gauges(reloader, records))
    reloader = ReleaseReloader(config_path, metrics.count_reload_failure)
    records = RecordsReader(reloader, metrics.count_thread_failure)
    table = RouteTable((*ROUTES, *PAGES, STATIC))
    app = make_flask(metrics, table)
    login_log = LoginLog(lambda: reloader.last().config, metrics.count_thread_failure)
    ended = EndedSessions(lambda: reloader.last().config.prod_deployment_path)
    access = Access(tokens, ended, login_log.add)
    middleware = Middleware(app.wsgi_app, reloader, access, table, metrics, as_error)
    middleware.prediction_log = PredictionLog(
        lambda: reloader.last().config, metrics.count_logging, metrics.count_thread_failure
    )
    # Flask documents this way to wrap an application.
    app.wsgi_app = middleware  # type: ignore[method-assign]
    app.extensions |= {
        "reloader": reloader,
        "middleware": middleware,
        "table": table,
        "records": records,
        "access": access,
        "login_log": login_log,
        "needs_token": access.needs_token,
        "schedule": NextRunCache(config_path),
        "comparer": RunComparer(config_path),
    }
    return app


def serve_alone(config_path: Path, listener: socket.socket) -> None:
    """Serve in the present process until stopped."""
    app = create_app(config_path)
    middleware: Middleware = app.extensions["middleware"]
    if app.extensions["reloader"].last().config.api.access_log:
        metrics: Metrics = app.extensions["metrics"]
        stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
        middleware.access_log = AccessLog(stream, metrics.count_access_log)
        middleware.access_log.start()
    records: RecordsReader = app.extensions["records"]
    records.start()
    login_log: LoginLog = app.extensions["login_log"]
    login_log.start()
    if middleware.prediction_log is not None:
        middleware.prediction_log.start()
    reloader: ReleaseReloader = app.extensions["reloader"]
    # The objects made so far live to the end, so the garbage collector may skip them.
    gc.collect()
    freeze_gc()
    worker_processes.return_large_blocks()
    asyncio.run(serve_until_stopped(listener, middleware, reloader))
    records.stop()
    login_log.stop()
    if middleware.prediction_log is not None:
        middleware.prediction_log.stop()
    if middleware.access_log is not None:
        middleware.access_log.stop()


def serve_in_processes(config_path: Path, listeners: list[socket.socket]) -> None:
    """Serve in a process per socket with shared metrics, until stopped."""
    with metrics_folder.opened() as folder:

        def work(number: int) -> None:
            """Serve as a worker process until SIGTERM."""
            share_between_processes(folder)
            serve_alone(config_path, listeners[number])

        worker_processes.run_workers(len(listeners), work)


def serve(config_path: Path) -> None:
    """Serve predictions and answers over HTTP, until stopped."""
    check_is_closed(config_path)
    config = read_config(config_path)
    n_processes = config.api.workers
    listeners = (
        [bind(config.api)] if n_processes == 1 else bind_for_processes(config.api, n_processes)
    )
    log.info("Serving on %s.", config.api_url)
    if n_processes == 1:
        serve_alone(config_path, listeners[0])
    else:
        serve_in_processes(config_path, listeners)
    log.info("Stopped.")
    worker_processes.exit_at_once()


if __name__ == "__main__":
    run_program(make_command(serve, ()))
