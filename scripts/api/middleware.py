"""The WSGI middleware of every request: access, limits, headers, metrics and access log."""

import io
import itertools
import logging
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from scripts.api.auth import Access, check_origin
from scripts.api.headers import UNLOGGED
from scripts.api.prediction_log import PredictionLog
from scripts.api.responses import (
    JSON_HEADERS,
    Answer,
    RefusedError,
    WsgiResponse,
    answer_problem,
    answer_refusal,
)
from scripts.api.routing import METHODS, READING, Lane, RouteTable
from scripts.api.serving_state import ReleaseReloader, Serving
from scripts.api.telemetry import AccessLog, Metrics
from scripts.api.tokens import Role
from scripts.core.errors import describe_bug

# Headers of every response. The policy allows scripts and styles of this service only and nothing
# inline, so that a name in a client table cannot become a script.
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
OTHER = "other"
NO_CONTENT = (204, 304)
UNKNOWN_METHOD = "The method is unknown; methods are written in capital letters."
EMPTY_PART = "The path has an empty part; expected single slashes, and one at the beginning."
# Enough for a login form, and for the body of any GET.
SMALL_BODY_BYTES = 16 * 1024
LOGIN = "/login"
SMALL_BODIES = frozenset({LOGIN, "/logout"})
PHRASES = {status.value: status.phrase for status in HTTPStatus}
SERVING = "adras.serving"
ROUTE = "adras.route"
# The route of the table, by which the required role was found.
MATCHED = "adras.matched"
UNLOGGED_KEY = f"HTTP_{UNLOGGED[0].upper().replace('-', '_')}"
# Set by a route whose response is not of the serving release.
RELEASE = "adras.release"
# Set by a route whose response has more parts than its body.
REST = "adras.rest"
# The user of the token of the request, None where no token is set.
USER = "adras.user"

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Any], Iterable[bytes]]

log = logging.getLogger(__name__)


def answer_too_large(limit: int) -> Answer:
    """Answer 413 to a body above the size limit."""
    return answer_problem(
        413, f"The body is larger than {limit} bytes; send less, or rows in several requests."
    )


def answer_too_busy() -> Answer:
    """Answer 503 to a body beyond the memory limit of all bodies."""
    return answer_problem(
        503,
        "Too many large bodies are on their way at this moment; send the request again.",
        [("Retry-After", "1"), ("Connection", "close")],
    )


def answer_too_slow(limit_s: float) -> Answer:
    """Answer 408 to a slow body."""
    detail = f"The body did not arrive within {limit_s:g} seconds."
    return answer_problem(408, detail, [("Connection", "close")])


def answer_too_many_forms() -> Answer:
    """Answer 429 to the oldest open form of an address after newer forms."""
    return answer_problem(
        429,
        "Too many forms of this address wait for their rest after too many wrong tokens; send the"
        " form in one piece. The right token is taken at any time.",
        [("Retry-After", "1"), ("Connection", "close")],
    )


def answer_bug(error: Exception, route: object) -> Answer:
    """Answer 500 to an unexpected error, and log its place without any client data."""
    log.error("The route %s failed: %s.", route, describe_bug(error))
    return answer_problem(500, "The service failed; its log says where.")


def with_length(answer: Answer, *, is_head: bool) -> Answer:
    """Add Content-Length and the security headers to an answer.

    An earlier Content-Length is replaced, since the body may have become a page.
    """
    headers = [pair for pair in answer.headers if pair[0].lower() != "content-length"]
    present = {name.lower() for name, _ in headers}
    headers += [pair for pair in SECURITY_HEADERS if pair[0].lower() not in present]
    if answer.status in NO_CONTENT:
        return Answer(answer.status, b"", headers)
    if answer.rest is not None:
        # Sent in chunks, whose end is the end of the body.
        body, rest = (b"", None) if is_head else (answer.body, answer.rest)
        return Answer(answer.status, body, headers, rest=rest)
    headers.append(("Content-Length", str(len(answer.body))))
    return Answer(answer.status, b"" if is_head else answer.body, headers)


def reason_phrase(status: int) -> str:
    """Return the reason phrase of a status."""
    return PHRASES.get(status, "Unknown")


def read_body(environ: Environ, limit: int) -> bytes | None:
    """Read the body off a WSGI stream, or return None above the limit."""
    length = environ.get("CONTENT_LENGTH") or ""
    is_whole = environ.get("wsgi.input_terminated", False)
    if length.isdecimal() and int(length) > limit:
        return None
    wanted = limit + 1 if is_whole else min(int(length or 0), limit + 1)
    body: bytes = environ["wsgi.input"].read(wanted) if wanted else b""
    return None if len(body) > limit else body


class Middleware:
    """A WSGI application around Flask's, in parts for servers without WSGI.

    Parameters
    ----------
    inner : WSGI application
        Answers the routes of other lanes than `Lane.FAST`.
    reloader : ReleaseReloader
        The config and release in use.
    access : Access
        Authorizes requests.
    table : RouteTable
        The routes.
    metrics : Metrics
        Counts requests and predictions.
    as_page : callable, optional
        Renders a problem document as a page for browsers.
    """

    def __init__(
        self,
        inner: WsgiApp,
        reloader: ReleaseReloader,
        access: Access,
        table: RouteTable,
        metrics: Metrics,
        as_page: Callable[[Environ, Answer], Answer] = lambda _, answer: answer,
    ) -> None:
        self._inner = inner
        self._reloader = reloader
        self._access = access
        self._table = table
        self._metrics = metrics
        self._as_page = as_page
        self.access_log: AccessLog | None = None
        self.prediction_log: PredictionLog | None = None

    def limit(self, environ: Environ) -> int:
        """Return the size limit of a request's body in bytes."""
        serving: Serving = environ[SERVING]
        largest = serving.config.api.max_body_bytes
        is_small = environ["REQUEST_METHOD"] in READING or environ["PATH_INFO"] in SMALL_BODIES
        return min(SMALL_BODY_BYTES, largest) if is_small else largest

    def _find_role(self, environ: Environ) -> Role | None:
        """Match a request with a route, and return the required role, None for open routes.

        An unlisted method or path requires the admin role.

        Raises
        ------
        RefusedError
            With status 400 or 405 for a method or path that a more lenient router could match.
        """
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        route = environ[MATCHED] = self._table.find(method, path)
        if route is not None:
            return route.role
        if method not in METHODS:
            allowed = ", ".join(self._table.list_methods(path))
            raise RefusedError(405, UNKNOWN_METHOD, [("Allow", allowed)])
        if "//" in path or not path.startswith("/"):
            raise RefusedError(400, EMPTY_PART)
        return Role.ADMIN

    def admit(self, environ: Environ) -> Answer | None:
        """Return the refusal of a request by its header, or None to admit the request."""
        serving: Serving = environ[SERVING]
        try:
            role = self._find_role(environ)
            if environ["REQUEST_METHOD"] not in READING:
                check_origin(environ)
            if role is not None:
                environ[USER] = self._access.check(
                    environ, role, serving.config.api.trusted_proxies
                )
        except RefusedError as refusal:
            return answer_refusal(refusal)
        length = environ.get("CONTENT_LENGTH") or "0"
        limit = self.limit(environ)
        if not length.isdecimal():
            return answer_problem(400, "The header Content-Length is no number.")
        return answer_too_large(limit) if int(length) > limit else None

    def locked_out_site(self, environ: Environ) -> str | None:
        """Return the address of a login form after too many wrong tokens, otherwise None."""
        if environ["PATH_INFO"] != LOGIN:
            return None
        serving: Serving = environ[SERVING]
        return self._access.locked_out_site(environ, serving.config.api.trusted_proxies)

    def respond(self, environ: Environ, body: bytes) -> Answer:
        """Answer an admitted request with a complete body."""
        route, method = environ[MATCHED], environ["REQUEST_METHOD"]
        if route is not None and route.lane is Lane.FAST and method == route.method:
            environ[ROUTE] = route.path
            try:
                answer: Answer = route.view(environ, body)
                return answer
            except RefusedError as refusal:
                return answer_refusal(refusal)
            except Exception as error:
                # The boundary of the fast routes, as Flask's error handler is for other routes.
                return answer_bug(error, route.path)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        if method == "HEAD":
            # `finish` needs the full response to measure its length.
            environ["REQUEST_METHOD"] = "GET"
        start = WsgiResponse()
        parts = self._inner(environ, start)
        try:
            content = b"".join(parts)
        finally:
            environ["REQUEST_METHOD"] = method
            close = getattr(parts, "close", None)
            if close is not None:
                close()
        # Break the cycle that would keep the body in memory.
        environ["wsgi.input"] = io.BytesIO()
        environ.pop("werkzeug.request", None)
        release = environ.get(RELEASE, environ[SERVING].release_name)
        return Answer(start.status, content, start.headers, release, rest=environ.pop(REST, None))

    def finish(self, environ: Environ, answer: Answer, started_s: float) -> Answer:
        """Count and log an answer, and add the common headers."""
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
        return with_length(answer, is_head=method == "HEAD")

    def _log_predictions(self, environ: Environ, predicted: Any) -> None:
        serving: Serving = environ[SERVING]
        fraction = serving.config.api.log_predictions
        is_traffic = environ.get(UNLOGGED_KEY) != UNLOGGED[1]
        if self.prediction_log is not None and fraction is not None and is_traffic:
            self.prediction_log.add(predicted, fraction)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a WSGI request, in tests or behind another WSGI server."""
        started_s = time.perf_counter()
        environ[SERVING] = self._reloader.now()
        answer = self.admit(environ)
        if answer is None:
            body = read_body(environ, self.limit(environ))
            answer = (
                answer_too_large(self.limit(environ))
                if body is None
                else self.respond(environ, body)
            )
        answer = self.finish(environ, answer, started_s)
        start_response(f"{answer.status} {reason_phrase(answer.status)}", list(answer.headers))
        return itertools.chain([answer.body], answer.rest or ())
