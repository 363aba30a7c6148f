"""What each route of the service answers, and the table of the routes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from flask import Response, current_app, request
from msgspec import Struct

from scripts import artifacts
from scripts.answers import JSON, Answer, RefusedError, answer_json, answer_problem
from scripts.contract import Diagnosis, Health, Predictions, Routes, Score, Summary
from scripts.frontdoor import SERVING
from scripts.live import Serving
from scripts.metrics import CONTENT_TYPE, Metrics
from scripts.predicting import answer_prediction
from scripts.tokens import Role

NOT_MEASURED = "Not measured yet: run python -m scripts.diagnostics."


@dataclass(frozen=True)
class Parameter:
    """A query parameter."""

    name: str
    text: str
    schema: dict[str, object]


@dataclass(frozen=True)
class Route:
    """One route: its view, who may ask, what comes back and which refusals are its own.

    Its summary is the docstring of the view.
    """

    method: str
    path: str
    view: Callable[[], Answer]
    answer: type[Struct] | str
    role: Role | None = Role.READ
    refusals: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()

    @property
    def summary(self) -> str:
        """What the route is for, in a sentence."""
        return (self.view.__doc__ or "").strip().split("\n")[0]


def serving() -> Serving:
    """Give what this request is answered from, the same from its beginning to its end."""
    return request.environ[SERVING]  # type: ignore[no-any-return]


def predict() -> Answer:
    """Predict who exits: {"data": [{column: value, ...}, ...]} in, predictions in its order out."""
    return answer_prediction(
        serving(),
        request.query_string.decode("latin-1"),
        request.headers.get("Content-Type", ""),
        request.headers.get("Content-Encoding", ""),
        request.get_data(),
    )


def score() -> Answer:
    """Give the F1 of the model in production on the test data."""
    release = serving().release_or_refuse()
    manifest = release.manifest
    return answer_json(
        Score(score=manifest.f1, release=release.name, model_stamp=manifest.model_stamp)
    )


def summarise() -> Answer:
    """Give means, medians and standard deviations of the columns of the dataset in production."""
    release = serving().release_or_refuse()
    columns = release.model.dataset.summary
    statistics = [
        [column.mean for column in columns],
        [column.median for column in columns],
        [column.standard_deviation for column in columns],
    ]
    names = [column.column for column in columns]
    return answer_json(Summary(summary=statistics, columns=names, release=release.name))


def diagnose() -> Answer:
    """Give missing values, execution times and outdated dependencies as last measured."""
    serving().release_or_refuse()
    path = serving().config.prod_deployment_path / artifacts.DIAGNOSTICS
    try:
        content = path.read_bytes()
        msgspec.json.decode(content, type=Diagnosis)
    except FileNotFoundError as error:
        raise RefusedError(503, NOT_MEASURED) from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(
            503, "The measurements cannot be read: run python -m scripts.diagnostics again."
        ) from error
    return Answer(200, content, [("Content-Type", JSON)])


def health() -> Answer:
    """Say whether the service can answer: 200 when ready, 503 when not; needs no token."""
    now = serving()
    last_success_at, faults = None, now.faults
    state = Health(
        live=True,
        ready=now.release is not None,
        degraded=bool(faults),
        release=now.release_name,
        input_folder=now.config.input_folder_path.name,
        errors=faults,
        last_successful_run_at=last_success_at,
        last_successful_run_age_s=None,
    )
    # Monitors look at the status; who reads the body finds the same members in both cases.
    if state.ready:
        return answer_json(state)
    return answer_problem(503, " ".join(now.faults), **msgspec.structs.asdict(state))


def metrics() -> Answer:
    """Give the numbers for Prometheus."""
    numbers: Metrics = current_app.extensions["metrics"]
    return Answer(200, numbers.expose(), [("Content-Type", CONTENT_TYPE)])


def list_routes() -> Answer:
    """List the routes."""
    routes = {f"{route.method} {route.path}": route.summary for route in ROUTES}
    return answer_json(Routes(routes=routes, release=serving().release_name))


EXPLAIN = Parameter(
    "explain", "Split the log-odds of each row into contributions.", {"type": "boolean"}
)
ROUTES = (
    Route("GET", "/", list_routes, Routes),
    Route("POST", "/predict", predict, Predictions, Role.READ, (400, 415, 422, 503), (EXPLAIN,)),
    Route("GET", "/score", score, Score, Role.READ, (503,)),
    Route("GET", "/summarise", summarise, Summary, Role.READ, (503,)),
    Route("GET", "/diagnose", diagnose, Diagnosis, Role.READ, (503,)),
    Route("GET", "/health", health, Health, None, (503,)),
    Route("GET", "/metrics", metrics, "text/plain"),
)


def as_response(answer: Answer) -> Response:
    """Turn an answer into Flask's."""
    return Response(answer.body, answer.status, list(answer.headers))


def now_text() -> str:
    """Spell the present moment."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat()
