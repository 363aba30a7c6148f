"""Responses of the service: JSON bodies and problem documents."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from scripts.clients.response_types import Count, Fraction, Moment
from scripts.model.ranking import Band
from scripts.production.shadow_types import ShadowComparison

JSON = "application/json"
PROBLEM = "application/problem+json"

Headers = Sequence[tuple[str, str]]
# The headers of a plain response: a single list, recognised by identity.
JSON_HEADERS: Headers = [("Content-Type", JSON)]

# Limits of the report of unknown categories.
MAX_UNKNOWN = 20
MAX_KNOWN = 50


class Answer(Struct):
    """A response, with annotations for the metrics and logs.

    `rest` are the parts after the body of a response that is never in memory as a whole.
    """

    status: int
    body: bytes
    headers: Headers = ()
    release: str | None = None
    n_rows: int = 0
    n_positives: int = 0
    predicted: object = None
    rest: Iterator[bytes] | None = None


class RefusedError(Exception):
    """A refused request, answered with a problem document.

    Parameters
    ----------
    status : int
        The HTTP status.
    detail : str
        The value found, the value expected, and the action to take.
    headers : sequence of tuple of str
        Further headers, such as Retry-After.
    **members : object
        Further members of the document.
    """

    def __init__(self, status: int, detail: str, headers: Headers = (), **members: object) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members


def answer_json(content: object, **facts: Any) -> Answer:
    """Answer with JSON."""
    return Answer(200, msgspec.json.encode(content), JSON_HEADERS, **facts)


def answer_problem(status: int, detail: str, headers: Headers = (), **members: object) -> Answer:
    """Answer with a problem document (RFC 9457)."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    body = msgspec.json.encode(content | {"detail": detail} | members)
    return Answer(status, body, [*headers, ("Content-Type", PROBLEM)])


def answer_refusal(refusal: RefusedError) -> Answer:
    """Answer with the problem document of a refused request."""
    return answer_problem(refusal.status, refusal.detail, refusal.headers, **refusal.members)


class WsgiResponse(Struct):
    """A collector of a WSGI application's response."""

    status: int = 500
    headers: list[tuple[str, str]] = field(default_factory=list)

    def __call__(
        self, status: str, headers: list[tuple[str, str]], _error: object = None
    ) -> object:
        """Store status and headers, as WSGI's `start_response`."""
        self.status, self.headers = int(status[:3]), headers
        return None


class Fault(Struct, frozen=True):
    """A faulty cell of a request, with rows counted from 0."""

    row: Count
    column: str
    found: str
    expected: str


class Problem(Struct, frozen=True, kw_only=True):
    """The reason for a refused request or an error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] | UnsetType = UNSET


class UnknownCategory(Struct, frozen=True):
    """A category missing from the training data, with no effect on the log-odds.

    `row` is the first of its `n_rows` rows, counted from 0. `known` lists up to 50 categories of
    the column in alphabetical order, "" for a missing value.
    """

    row: Count
    column: str
    found: str
    n_rows: Annotated[int, Meta(ge=1)]
    known: Annotated[list[str], Meta(max_length=MAX_KNOWN)]


class PairContribution(Struct, frozen=True):
    """The contribution of two columns together to the log-odds of a row."""

    columns: Annotated[list[str], Meta(min_length=2, max_length=2)]
    effect: float


class Predictions(Struct, frozen=True, kw_only=True):
    """Predictions in the order of the rows.

    With explain=true, the intercept plus the contributions of a row's columns, then those of its
    pairs of columns, added in order, are its log-odds. Up to 20 unknown categories of the request
    are listed.
    """

    predictions: list[Fraction]
    probabilities: list[Fraction]
    risk_bands: list[Band]
    release: str
    unknown_categories: (
        Annotated[list[UnknownCategory], Meta(min_length=1, max_length=MAX_UNKNOWN)] | UnsetType
    ) = UNSET
    log_odds: list[float] | UnsetType = UNSET
    intercept: float | UnsetType = UNSET
    contributions: list[dict[str, float]] | UnsetType = UNSET
    pair_contributions: list[list[PairContribution]] | UnsetType = UNSET


class Score(Struct, frozen=True, kw_only=True):
    """The F1 of the model in production on the test data."""

    score: Fraction
    release: str
    model_stamp: str


class Summary(Struct, frozen=True, kw_only=True):
    """Means, medians and standard deviations of the columns of the dataset in production."""

    summary: Annotated[list[list[float | None]], Meta(min_length=3, max_length=3)]
    columns: list[str]
    release: str


class DroppedRows(Struct, frozen=True, kw_only=True):
    """Rows dropped from a dataset, in total and for clients who left, None if unknown."""

    n_rows: Count
    n_positives: Count | None


class Diagnosis(Struct, frozen=True, kw_only=True):
    """Missing values, execution times and outdated dependencies as last measured."""

    missing_values: list[float | None]
    columns: list[str]
    # Measurements of an earlier version lack both.
    missing_fractions: dict[str, float] | UnsetType = UNSET
    dropped_rows: DroppedRows | UnsetType | None = UNSET
    execution_time: list[float | None]
    outdated_dependencies: str
    measured_at: Moment
    release: str | None


class Health(Struct, frozen=True, kw_only=True):
    """The state of the service and reasons for a degraded state."""

    live: bool
    ready: bool
    degraded: bool
    release: str | None
    input_folder: str
    errors: list[str]
    last_successful_run_at: Moment | None
    last_successful_run_age_s: float | None


class ReleaseEntry(Struct, frozen=True, kw_only=True):
    """A deployment or rollback."""

    id: int
    at: Moment
    kind: str
    release: str
    previous_release: str | None
    model_stamp: str | None
    f1: float | None
    actor: str | None
    reason: str | None
    run_id: int | None


class Releases(Struct, frozen=True, kw_only=True):
    """Deployments and rollbacks, newest first."""

    releases: list[ReleaseEntry]
    next_offset: int | None
    release: str | None


class RunEntry(Struct, frozen=True, kw_only=True):
    """A run of the full process."""

    id: int
    started_at: Moment
    ended_at: Moment | None
    trigger: str | None
    status: str
    verdict: str | None
    reason: str | None
    error: str | None
    stamp: str | None
    candidate_f1: float | None
    production_f1: float | None
    release: str | None
    durations_s: dict[str, float] | None


class Runs(Struct, frozen=True, kw_only=True):
    """The last runs, newest first."""

    runs: list[RunEntry]
    next_offset: int | None
    release: str | None


class CandidateState(Struct, frozen=True, kw_only=True):
    """A candidate that waits for approval, the evidence of the gate, and the shadow."""

    release: str
    at: Moment
    run_id: int | None
    model_stamp: str | None
    f1: float | None
    actor: str
    reason: str | None
    production_release: str | None
    production_f1: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    probability_better: float | None
    n_test_rows: int | None
    shadow: ShadowComparison | None


class Candidate(Struct, frozen=True, kw_only=True):
    """The candidate that waits for approval, null if none does, and the serving release."""

    candidate: CandidateState | None
    release: str | None


class SplitTable(Struct):
    """A table in the format of pandas' `to_json(orient="split")`."""

    columns: list[str]
    data: list[list[Any]]


class PredictBody(Struct):
    """The body of /predict: exactly one table member, further members allowed."""

    data: list[dict[str, Any]] | UnsetType = UNSET
    dataframe_split: SplitTable | UnsetType = UNSET
    dataframe_records: list[dict[str, Any]] | UnsetType = UNSET
    instances: list[Any] | UnsetType = UNSET
    inputs: list[Any] | dict[str, list[Any]] | UnsetType = UNSET
