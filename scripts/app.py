"""The service: answers predictions and questions over HTTP from the release in production."""

import hmac
import logging
import signal
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import numpy as np
import waitress
from flask import Flask, Response, abort, current_app, g, request
from msgspec import Struct
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    ServiceUnavailable,
    Unauthorized,
    UnprocessableEntity,
)

from scripts import artifacts, model
from scripts.config import LOOPBACK_HOSTS, ApiSettings, api_token, read_config
from scripts.console import make_command
from scripts.errors import ConfigError, ServiceUnavailableError
from scripts.live import Live, Serving
from scripts.payload import FaultyRowsError, read_columns
from scripts.release import Release

NOT_MEASURED = "Not measured yet: run python -m scripts.diagnostics."

log = logging.getLogger(__name__)


class PredictBody(Struct):
    """The body of /predict; further members are allowed."""

    data: list[dict[str, Any]]


class Diagnosis(Struct):
    """What the file of diagnostics must hold to be handed out."""

    missing_values: list[float | None]
    columns: list[str]
    execution_time: list[float | None]
    outdated_dependencies: str
    measured_at: str
    release: str | None


def predict_rows(release: Release, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Predict each row, in the order given."""
    columns = read_columns(rows, release.model.schema)
    probability = model.probabilities(release.model, columns)
    return {
        "predictions": model.predictions(release.model, probability).astype(np.float64).tolist(),
        "probabilities": probability.tolist(),
        "release": release.name,
    }


def read_rows(api: ApiSettings) -> list[dict[str, Any]]:
    """Read the rows off the body of the request, strictly."""
    if not request.is_json or request.headers.get("Content-Encoding", "identity") != "identity":
        abort(415, "Expected the content type application/json, and no content encoding.")
    request.max_content_length = api.max_body_bytes
    try:
        rows = msgspec.json.decode(request.get_data(cache=False), type=PredictBody).data
    except msgspec.ValidationError as error:
        abort(422, f"{error}. Expected an object whose member data is an array of rows.")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # A UnicodeDecodeError would quote the body.
        reason = (
            error if isinstance(error, msgspec.DecodeError) else "not UTF-8, or nested too deep"
        )
        abort(400, f"The body is not JSON: {reason}.")
    if not 1 <= len(rows) <= api.max_rows:
        wanted = "at least one row" if not rows else f"at most {api.max_rows} rows"
        abort(422, f"The data has {len(rows)} rows; expected {wanted}.")
    return rows


def serving() -> Serving:
    """Give what this request is answered from, the same from its beginning to its end."""
    if "serving" not in g:
        g.serving = current_app.extensions["live"].now()
    return g.serving  # type: ignore[no-any-return]


def release_or_503() -> Release:
    """Give the release this request is answered from; without one, end the request."""
    release = serving().release
    return abort(503, " ".join(serving().faults)) if release is None else release


def answer(content: object) -> Response:
    """Answer with JSON."""
    return Response(msgspec.json.encode(content), content_type="application/json")


def problem(error: HTTPException, **members: object) -> Response:
    """Answer an error as RFC 9457 has it, keeping its headers, such as Allow."""
    content = {"type": "about:blank", "title": error.name, "status": error.code}
    headers = [(k, v) for k, v in error.get_headers() if k.lower() != "content-type"]
    body = msgspec.json.encode(content | {"detail": error.description} | members)
    return Response(body, error.code, headers, content_type="application/problem+json")


def index() -> Response:
    """List the routes."""
    routes = {f"{method} {path}": (view.__doc__ or "").strip() for method, path, view in ROUTES}
    return answer({"routes": routes})


def predict() -> Response:
    """Predict who exits: {"data": [{column: value, ...}, ...]} in, predictions in its order out."""
    release = release_or_503()
    return answer(predict_rows(release, read_rows(serving().config.api)))


def score() -> Response:
    """Give the F1 of the model in production on the test data."""
    release = release_or_503()
    manifest = release.manifest
    return answer(
        {"score": manifest.f1, "release": release.name, "model_stamp": manifest.model_stamp}
    )


def summarise() -> Response:
    """Give means, medians and standard deviations of the columns of the dataset in production."""
    release = release_or_503()
    columns = release.model.dataset.summary
    statistics = [
        [column.mean for column in columns],
        [column.median for column in columns],
        [column.standard_deviation for column in columns],
    ]
    names = [column.column for column in columns]
    return answer({"summary": statistics, "columns": names, "release": release.name})


def diagnose() -> Response:
    """Give missing values, execution times and outdated dependencies as last measured."""
    release_or_503()
    path = serving().config.prod_deployment_path / artifacts.DIAGNOSTICS
    try:
        content = path.read_bytes()
        msgspec.json.decode(content, type=Diagnosis)
    except FileNotFoundError:
        abort(503, NOT_MEASURED)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        log.error("%s cannot be read or is damaged.", path)
        abort(503, "The measurements cannot be read: run python -m scripts.diagnostics again.")
    return Response(content, content_type="application/json")


def health() -> Response:
    """Say whether the service can answer: 200 when ready, 503 when not; needs no token."""
    now = serving()
    ready = now.release is not None
    state = {
        "live": True,
        "ready": ready,
        "release": now.release.name if now.release else None,
        "input_folder": now.config.input_folder_path.name,
        "errors": now.faults,
    }
    # Monitors look at the status; who reads the body finds the same members in both cases.
    if ready:
        return answer(state)
    return problem(ServiceUnavailable(" ".join(now.faults)), **state)


ROUTES = (
    ("GET", "/", index),
    ("POST", "/predict", predict),
    ("GET", "/score", score),
    ("GET", "/summarise", summarise),
    ("GET", "/diagnose", diagnose),
    ("GET", "/health", health),
)


def check_token() -> None:
    """End a request that lacks the token; only /health needs none."""
    token = current_app.extensions["token"]
    if token is None or request.endpoint == "/health":
        return
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # WSGI hands headers over as latin-1; the bytes compared are those that were sent.
    sent = given.strip().encode("latin-1", "replace")
    is_right = hmac.compare_digest(sent, token.encode("utf-8", "surrogateescape"))
    if scheme.lower() != "bearer" or not is_right:
        raise Unauthorized(
            "Expected the header Authorization: Bearer <token>.",
            www_authenticate=WWWAuthenticate("bearer", {"realm": "adras"}),
        )


def answer_bug(error: Exception) -> Response:
    """Answer 500 to an unexpected error, and log where it happened, but no data of the client."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    log.error("%s on the route %s, at %s.", type(error).__name__, request.url_rule, places)
    return problem(InternalServerError("The service failed; its log says where."))


def answer_faulty_rows(error: FaultyRowsError) -> Response:
    """Answer 422 with the list of faults."""
    return problem(UnprocessableEntity(str(error)), errors=error.faults)


def add_headers(response: Response) -> Response:
    """Keep answers out of caches, and browsers from guessing their type."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def create_app(config_path: Path) -> Flask:
    """Make the service.

    Parameters
    ----------
    config_path : Path
        The config.json, watched from now on; the token of the API comes from the environment.

    Returns
    -------
    Flask
        Needs no release to start; answers 503 until there is one.

    Raises
    ------
    ConfigError
        If the configuration is broken, or opens the service to other machines without a token.
    """
    live, token = Live(config_path), api_token()
    host = live.now().config.api.host
    if host not in LOOPBACK_HOSTS and token is None:
        raise ConfigError(
            f"{config_path}: api.host {host!r} lets other machines reach the service, and no token"
            " is set. Set ADRAS_API_TOKEN in the environment, or api.host to 127.0.0.1."
        )
    app = Flask("adras", static_folder=None, template_folder=None)
    app.extensions |= {"live": live, "token": token}
    for method, path, view in ROUTES:
        app.add_url_rule(path, endpoint=path, view_func=view, methods=[method])
    app.before_request(check_token)
    app.after_request(add_headers)
    app.register_error_handler(HTTPException, problem)
    app.register_error_handler(FaultyRowsError, answer_faulty_rows)
    app.register_error_handler(Exception, answer_bug)
    return app


def open_server(app: Flask, api: ApiSettings) -> Any:
    """Bind the production server to its address."""
    try:
        return waitress.create_server(
            app,
            host=api.host,
            port=api.port,
            threads=8,
            connection_limit=1000,
            channel_timeout=15,
            ident=None,
            # Somewhat above the app's own limit, whose answer is the better one, and so that an
            # edited limit holds without a restart.
            max_request_body_size=4 * api.max_body_bytes,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ServiceUnavailableError(
            f"Cannot serve on {api.host}, port {api.port}: {reason}. Stop the program that uses"
            " it, or change api.port or api.host in config.json."
        ) from error


def stop(_signal: int, _frame: FrameType | None) -> None:
    """End the service; the server catches this between two events and closes."""
    raise SystemExit(0)


def serve(config_path: Path) -> None:
    """Serve predictions and answers over HTTP, until stopped."""
    app = create_app(config_path)
    config = read_config(config_path)
    server = open_server(app, config.api)
    signal.signal(signal.SIGTERM, stop)
    log.info("Serving on %s.", config.api_url)
    server.run()
    server.close()
    log.info("Stopped.")


if __name__ == "__main__":
    make_command(serve, ()).main()
