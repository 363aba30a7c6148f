"""The response types of a candidate beside production on today's clients and logged requests."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from scripts.core.config import Fraction

Count = Annotated[int, Meta(ge=0)]
# A moment of RFC 3339, in UTC.
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class ShadowSide(Struct, frozen=True, kw_only=True):
    """The scores of a model: the share of predicted leavers, the mean risk, and the bands."""

    predicted_fraction: Fraction
    mean_probability: Fraction
    bands: dict[str, Count]


class ShadowScores(Struct, frozen=True, kw_only=True):
    """Candidate and production on the same rows.

    The rank correlation is Spearman's, null where a model gives all rows one probability.
    """

    n_rows: Count
    rank_correlation: float | None
    candidate: ShadowSide
    production: ShadowSide
    n_band_changes: Count


class ShadowRequests(ShadowScores, frozen=True, kw_only=True):
    """Candidate and production on the newest logged request of each known client."""

    n_logged: Count
    first_at: Moment
    last_at: Moment


class ShadowClient(Struct, frozen=True, kw_only=True):
    """A client with the probability and the place by risk of candidate and production.

    The reasons are sentences, the strongest first, of the largest moves only. `names` are the texts
    of `schema.names` by column, as long as the client has a score.
    """

    client: str
    names: dict[str, str] | UnsetType = UNSET
    candidate_probability: Fraction
    production_probability: Fraction
    candidate_position: Count
    production_position: Count
    reasons: list[str] = []


class ShadowSummary(Struct, frozen=True, kw_only=True):
    """A candidate beside the release in production: counts without the data of a client.

    `n_listed` is the length of the list to call. `why_no_clients` and `why_no_requests` are the
    reasons for a missing comparison.
    """

    production_release: str
    clients: ShadowScores | None = None
    n_listed: Count = 0
    n_enter: Count = 0
    n_leave: Count = 0
    why_no_clients: str = ""
    requests: ShadowRequests | None = None
    why_no_requests: str = ""


class ShadowComparison(ShadowSummary, frozen=True, kw_only=True):
    """A candidate beside production with the clients who enter and leave the list, and moves.

    Of each kind so many clients are named as the records keep; the counts are of all.
    """

    enter: list[ShadowClient] = []
    leave: list[ShadowClient] = []
    moves: list[ShadowClient] = []


def read_shadow(row: Mapping[str, Any] | None) -> ShadowComparison | None:
    """Return a recorded comparison, with or without the clients, or None."""
    return None if row is None else msgspec.convert(row, ShadowComparison)


def format_correlation(scores: ShadowScores) -> str:
    """Format a rank correlation."""
    correlation = scores.rank_correlation
    return "not defined" if correlation is None else f"{correlation:.3f}"


def describe_scores(scores: ShadowScores) -> str:
    """Describe candidate and production on the same rows in a sentence."""
    new, old = scores.candidate, scores.production
    return (
        f"rank correlation {format_correlation(scores)}; predicted to leave"
        f" {new.predicted_fraction:.1%} of {scores.n_rows:,}, by production"
        f" {old.predicted_fraction:.1%}; {scores.n_band_changes:,} change their band"
    )


def describe(shadow: ShadowSummary) -> list[tuple[str, str]]:
    """Describe a candidate beside production as named sentences.

    Parameters
    ----------
    shadow : ShadowSummary
        The comparison, without or with the clients.

    Returns
    -------
    list of tuple of str
        Of today's clients, of their list, and of the logged requests. What was not compared has
        its reason.
    """
    clients, requests = shadow.clients, shadow.requests
    rows = [
        (
            "Today's clients",
            f"not compared: {shadow.why_no_clients}"
            if clients is None
            else describe_scores(clients),
        )
    ]
    if clients is not None:
        listed = f"{shadow.n_enter:,} enter the list of {shadow.n_listed:,}, {shadow.n_leave:,}"
        rows.append(("List", f"{listed} leave it"))
    rows.append(
        (
            "Logged requests",
            f"not compared: {shadow.why_no_requests}"
            if requests is None
            else f"{describe_scores(requests)}; {requests.n_logged:,} requests from"
            f" {requests.first_at[:10]} to {requests.last_at[:10]}",
        )
    )
    return rows
