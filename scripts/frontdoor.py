"""What every request passes: access and limits before, headers, numbers and a log line after."""

import io
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from scripts.access import Access, check_origin
from scripts.accesslog import AccessLog
from scripts.answers import (
    JSON_HEADERS,
    Answer,
    RefusedError,
    Wsgi,
    answer_problem,
    answer_refusal,
)
from scripts.live import Live, Serving
from scripts.metrics import Metrics
from scripts.predictionlog import UNLOGGED, PredictionLog
from scripts.predictors import find_predictor
from scripts.tokens import Role

# For every answer. The policy lets a page load scripts and styles of this service only, and
# nothing inline, so that a name in a client table cannot become a script.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
SECURITY_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("Referrer-Policy", "no-referrer"),
    ("Server", "adras"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
)
JSON_AND_SECURITY_HEADERS = [*JSON_HEADERS, *SECURITY_HEADERS]
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
OTHER = "other"
# Scripts and styles of the pages: the same for everyone, and without any data.
STATIC = "/static/"
NO_CONTENT = (204, 304)
PHRASES = {status.value: status.phrase for status in HTTPStatus}
SERVING = "adras.serving"
ROUTE = "adras.route"
UNLOGGED_KEY = f"HTTP_{UNLOGGED[0].upper().replace('-', '_')}"
# Where a route says that its answer is of another release than the one that serves.
RELEASE = "adras.release"
ROLE = "adras.role"
# What may be asked without being meant: a link, a picture, a look ahead.
READING = ("GET", "HEAD", "OPTIONS")

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Any], Iterable[bytes]]

log = logging.getLogger(__name__)


def too_large(limit: int) -> Answer:
    """Answer a body above the limit."""
    return answer_problem(
        413, f"The body is larger than {limit} bytes; send the rows in several requests."
    )


def too_slow(limit_s: float) -> Answer:
    """Answer a body that does not arrive in time."""
    detail = f"The body did not arrive within {limit_s:g} seconds."
    return answer_problem(408, detail, [("Connection", "close")])


def answer_bug(error: Exception, route: object) -> Answer:
    """Answer 500 to an unexpected error, and log where it happened, but no data of the client."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    log.error("%s on the route %s, at %s.", type(error).__name__, route, places)
    return answer_problem(500, "The service failed; its log says where.")


def reason(status: int) -> str:
    """Name a status."""
    return PHRASES.get(status, "Unknown")


def read_body(environ: Environ, limit: int) -> bytes | None:
    """Read the body off a WSGI server's stream; None if it is larger than the limit."""
    length = environ.get("CONTENT_LENGTH") or ""
    is_whole = environ.get("wsgi.input_terminated", False)
    if length.isdecimal() and int(length) > limit:
        return None
    wanted = limit + 1 if is_whole else min(int(length or 0), limit + 1)
    body: bytes = environ["wsgi.input"].read(wanted) if wanted else b""
    return None if len(body) > limit else body


class FrontDoor:
    """A WSGI application around Flask's, in parts that a server can also call one by one.

    Parameters
    ----------
    inner : WSGI application
        Answers what no express lane answers.
    live : Live
        What to answer from.
    access : Access
        Lets in or refuses.
    roles : mapping of tuple of two str to Role or None
        What each method on each path wants; None is open to all, anything else wants reading.
    metrics : Metrics
        Counts.
    as_page : callable, optional
        Turns a problem document into a page for a browser.
    """

    def __init__(
        self,
        inner: WsgiApp,
        live: Live,
        access: Access,
        roles: Mapping[tuple[str, str], Role | None],
        metrics: Metrics,
        as_page: Callable[[Environ, Answer], Answer] = lambda _, answer: answer,
    ) -> None:
        self._inner = inner
        self._live = live
        self._access = access
        self._roles = roles
        self._metrics = metrics
        self._as_page = as_page
        self.access_log: AccessLog | None = None
        self.prediction_log: PredictionLog | None = None

    def limit(self, environ: Environ) -> int:
        """Say how many bytes the body of this request may have."""
        serving: Serving = environ[SERVING]
        return serving.config.api.max_body_bytes

    def _role(self, environ: Environ) -> Role | None:
        """Say which role a request wants; what is not known to be open wants reading."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        method = "GET" if method in READING else method
        if method == "GET" and path.startswith(STATIC):
            return None
        return self._roles.get((method, path), Role.READ)

    def admit(self, environ: Environ) -> Answer | None:
        """Refuse a request before its body is read, or let it in: None."""
        serving: Serving = environ[SERVING]
        try:
            role = self._role(environ)
            if environ["REQUEST_METHOD"] not in READING:
                check_origin(environ)
            if role is not None:
                environ[ROLE] = self._access.check(
                    environ, role, serving.config.api.trusted_proxies
                )
        except RefusedError as refusal:
            return answer_refusal(refusal)
        length = environ.get("CONTENT_LENGTH") or "0"
        limit = self.limit(environ)
        if not length.isdecimal():
            return answer_problem(400, "The header Content-Length is no number.")
        return too_large(limit) if int(length) > limit else None

    def respond(self, environ: Environ, body: bytes) -> Answer:
        """Answer a request that was let in and whose body is there."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        predictor = find_predictor(path) if method == "POST" else None
        if predictor is not None:
            # The express lane: routing and request objects would cost as much as the prediction.
            environ[ROUTE] = predictor.route
            try:
                return predictor.answer(environ[SERVING], path, environ, body)
            except RefusedError as refusal:
                return answer_refusal(refusal)
            except Exception as error:
                # The boundary, as Flask's error handler is for the other routes.
                return answer_bug(error, predictor.route)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        start = Wsgi()
        parts = self._inner(environ, start)
        try:
            content = b"".join(parts)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()
        release = environ.get(RELEASE, environ[SERVING].release_name)
        return Answer(start.status, content, start.headers, release)

    def finish(self, environ: Environ, answer: Answer, started_s: float) -> Answer:
        """Count and log an answer, and add the headers that all answers have."""
        if answer.status >= HTTPStatus.BAD_REQUEST:
            answer = self._as_page(environ, answer)
        duration_s = time.perf_counter() - started_s
        route, method = environ.get(ROUTE, OTHER), environ["REQUEST_METHOD"]
        method = method if method in METHODS else OTHER
        self._metrics.count_request(route, method, answer.status, duration_s)
        if answer.n_rows:
            self._metrics.count_predictions(answer.n_rows, answer.n_positives)
        if answer.predicted is not None:
            self._log_predictions(environ, answer.predicted)
        if self.access_log is not None:
            self.access_log.add(
                (time.time(), method, route, answer.status, duration_s, answer.n_rows,
                 answer.release)
            )  # fmt: skip
        if answer.headers is JSON_HEADERS and method != "HEAD":
            return Answer(answer.status, answer.body, JSON_AND_SECURITY_HEADERS)
        own = {name.lower() for name, _ in answer.headers}
        added = [pair for pair in SECURITY_HEADERS if pair[0].lower() not in own]
        if "content-length" not in own and answer.status not in NO_CONTENT:
            added.append(("Content-Length", str(len(answer.body))))
        body = b"" if method == "HEAD" else answer.body
        return Answer(answer.status, body, [*answer.headers, *added])

    def _log_predictions(self, environ: Environ, predicted: Any) -> None:
        serving: Serving = environ[SERVING]
        fraction = serving.config.api.log_predictions
        is_traffic = environ.get(UNLOGGED_KEY) != UNLOGGED[1]
        if self.prediction_log is not None and fraction is not None and is_traffic:
            self.prediction_log.add(predicted, fraction)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer as a WSGI application: for tests, and for any server that speaks WSGI."""
        started_s = time.perf_counter()
        environ[SERVING] = self._live.now()
        answer = self.admit(environ)
        if answer is None:
            body = read_body(environ, self.limit(environ))
            answer = too_large(self.limit(environ)) if body is None else self.respond(environ, body)
        answer = self.finish(environ, answer, started_s)
        start_response(f"{answer.status} {reason(answer.status)}", list(answer.headers))
        return [answer.body]
