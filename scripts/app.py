"""The service: answers predictions and questions over HTTP from the release in production."""

import hmac
import logging
import math
import os
import signal
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, NoneType
from typing import Any, TypedDict

import msgspec
import numpy as np
import waitress
from flask import Flask, Response, abort, current_app, g, request
from msgspec import Struct
from numpy.typing import NDArray
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    ServiceUnavailable,
    Unauthorized,
    UnprocessableEntity,
)

from scripts import artifacts, model
from scripts.config import LOOPBACK_HOSTS, ApiSettings, Config, Schema, api_token, read_config
from scripts.console import make_command
from scripts.errors import ConfigError, PipelineError, ServiceUnavailableError
from scripts.model import LARGEST_NUMBER, MISSING_CATEGORY
from scripts.release import Release, load_current

MAX_FAULTY_ROWS = 20
MAX_SHOWN = 40
RETRY_S = 10.0
ABSENT = object()
NO_RELEASE = "There is no release yet; run python -m scripts.fullprocess."
NOT_MEASURED = "Not measured yet: run python -m scripts.diagnostics."
# What reading an edited config or a damaged release can raise. Besides our own errors: JSON nested
# too deep, and a path with a NUL. Whatever it is, the service goes on with what it had.
REFUSALS = (PipelineError, OSError, ValueError, RecursionError)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """The state of config.json and of the link `current` at one look."""

    config_state: tuple[int, int, int] | None
    prod_folder: Path | None
    target: str | None


@dataclass(frozen=True)
class Serving:
    """What one request is answered from; it never changes, so no answer mixes two releases."""

    root: Path
    config: Config
    release: Release | None
    seen: Seen
    config_fault: str = ""
    release_fault: str = ""
    retry_at_s: float = math.inf

    @property
    def faults(self) -> list[str]:
        """Why the newest config or release is not in use, without the folders of this machine."""
        found = [fault for fault in (self.config_fault, self.release_fault) if fault]
        for folder in (self.root, self.config.prod_deployment_path.parent):
            found = [fault.replace(f"{folder}{os.sep}", "") for fault in found]
        return found


def state_of(path: Path) -> tuple[int, int, int] | None:
    """Size, time of change and inode of a file, following links; None if it cannot be seen."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def target_of(prod_folder: Path) -> str | None:
    """Read where `current` points; "" if that cannot be read, which loading then explains."""
    try:
        return artifacts.current_target(prod_folder)
    except REFUSALS:
        return ""


def renew_config(config_path: Path, last: Serving) -> tuple[Config, str]:
    """Read an edited config.json aside; give the last good one and the fault if it is broken."""
    try:
        config = read_config(config_path)
    except REFUSALS as error:
        if str(error) != last.config_fault:
            log.error("%s The last good configuration stays in use.", error)
        return last.config, str(error)
    log.info("Read the configuration %s.", config_path)
    return config, ""


def renew_release(prod_folder: Path, last: Serving) -> tuple[Release | None, str]:
    """Load the release in production aside; give the last good one and the fault if it is bad."""
    try:
        loaded, fault = load_current(prod_folder), NO_RELEASE
    except REFUSALS as error:
        loaded, fault = None, str(error)
    if loaded is not None:
        log.info("Loaded release %s, F1 %.4f.", loaded.name, loaded.manifest.f1)
        return loaded, ""
    if fault != last.release_fault:
        kept = last.release.name if last.release else "nothing"
        log.log(
            logging.WARNING if fault == NO_RELEASE else logging.ERROR, "%s Serving %s.", fault, kept
        )
    return last.release, fault


def renew(config_path: Path, last: Serving) -> Serving:
    """Look again at config and release, and read anew what changed or was bad before."""
    state, config, config_fault = state_of(config_path), last.config, last.config_fault
    if state != last.seen.config_state or config_fault:
        config, config_fault = renew_config(config_path, last)
    folder = config.prod_deployment_path
    seen = Seen(state, folder, target_of(folder))
    release, release_fault = last.release, last.release_fault
    before = (last.seen.prod_folder, last.seen.target)
    if (seen.prod_folder, seen.target) != before or release_fault:
        release, release_fault = renew_release(folder, last)
    # A fault may pass by itself (too many open files, say), so it is looked at again now and then.
    retry_at_s = time.monotonic() + RETRY_S if config_fault or release_fault else math.inf
    return Serving(last.root, config, release, seen, config_fault, release_fault, retry_at_s)


class Live:
    """The config and release in use, renewed when a request finds that they changed."""

    def __init__(self, config_path: Path) -> None:
        state, config = state_of(config_path), read_config(config_path)
        start = Serving(config_path.absolute().parent, config, None, Seen(state, None, None))
        self._config_path = config_path
        self._renewing = threading.Lock()
        self._serving = renew(config_path, start)

    def now(self) -> Serving:
        """Give what to answer from; one thread renews it, the others go on with the last good."""
        last = self._serving
        folder = last.config.prod_deployment_path
        seen = Seen(state_of(self._config_path), folder, target_of(folder))
        if seen == last.seen and time.monotonic() < last.retry_at_s:
            return last
        if self._renewing.acquire(blocking=False):
            try:
                self._serving = renew(self._config_path, self._serving)
            finally:
                self._renewing.release()
        return self._serving


class Fault(TypedDict):
    """A cell of a request that cannot be right; rows count from 0."""

    row: int
    column: str
    found: str
    expected: str


class FaultyRowsError(ValueError):
    """Rows of a request that cannot be right, with their faults."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(
            "The data has values that cannot be right; `errors` lists those of the first"
            f" {MAX_FAULTY_ROWS} faulty rows, counted from 0."
        )
        self.faults = faults


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


def show(value: object) -> str:
    """Spell a value of a request for its sender, shortened."""
    if value is ABSENT:
        return "no such column"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "an array"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def number_wanted(value: object, minimum: float) -> str:
    """Say what was expected instead of a value in a numeric column; "" if the value is right."""
    if value is None:
        return ""
    if type(value) not in (int, float):
        return "a number or null"
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    if abs(number) > LARGEST_NUMBER:
        return "a number from -2**53 to 2**53"
    return f"a number of at least {minimum:g}" if number < minimum else ""


def text_wanted(value: object) -> str:
    """Say what was expected instead of a value in a text column; "" if the value is right."""
    return "" if value is None or isinstance(value, str) else "text or null"


def find_faults(rows: list[dict[str, Any]], schema: Schema) -> list[Fault]:
    """List every fault of the first faulty rows."""
    faults: list[Fault] = []
    n_faulty = 0
    for index, row in enumerate(rows):
        cells = {name: row.get(name, ABSENT) for name in schema.features}
        wanted = {
            n: number_wanted(cells[n], schema.minimums.get(n, -math.inf)) for n in schema.numeric
        }
        wanted |= {name: text_wanted(cells[name]) for name in schema.categorical}
        faults += [
            Fault(row=index, column=name, found=show(cells[name]), expected=expected)
            for name, expected in wanted.items()
            if expected
        ]
        n_faulty += any(wanted.values())
        if n_faulty == MAX_FAULTY_ROWS:
            break
    return faults


def number_array(values: list[Any], minimum: float) -> NDArray[np.float64] | None:
    """Make an array of a numeric column, NaN for null; None if a value cannot be right."""
    if not set(map(type, values)) <= {int, float, NoneType}:
        return None
    try:
        array = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    wrong = (np.abs(array) > LARGEST_NUMBER) | (array < minimum)
    return None if wrong.any() else array


def text_array(values: list[Any]) -> NDArray[np.object_] | None:
    """Make an array of a text column, "" for null; None if a value cannot be right."""
    if not set(map(type, values)) <= {str, NoneType}:
        return None
    texts = [MISSING_CATEGORY if value is None else value.strip() for value in values]
    return np.array(texts, dtype=object)


def read_columns(rows: list[dict[str, Any]], schema: Schema) -> dict[str, NDArray[Any]]:
    """Turn rows into one array per feature.

    Parameters
    ----------
    rows : list of dict
        Column name to value; further columns are ignored, null is a blank.
    schema : Schema
        The columns of the model.

    Returns
    -------
    dict of str to numpy.ndarray of shape (n_rows,)
        As `model.probabilities` wants them.

    Raises
    ------
    FaultyRowsError
        If a column is absent from a row, or a value has the wrong type or is out of range.
    """
    columns = {name: [row.get(name, ABSENT) for row in rows] for name in schema.features}
    minimums = schema.minimums
    arrays: dict[str, NDArray[Any] | None] = {
        name: number_array(columns[name], minimums.get(name, -math.inf)) for name in schema.numeric
    }
    arrays |= {name: text_array(columns[name]) for name in schema.categorical}
    right = {name: array for name, array in arrays.items() if array is not None}
    if len(right) < len(arrays):
        raise FaultyRowsError(find_faults(rows, schema))
    return right


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
