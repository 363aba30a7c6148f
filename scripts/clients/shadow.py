"""The shadow of a candidate: today's clients and logged requests scored beside production."""

import logging
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.engine import Engine

from scripts.clients import (
    calling_effect,
    client_gains,
    client_work,
    holdout,
    shadow_reasons,
    todays_clients,
    todays_columns,
    worklist,
)
from scripts.clients.client_gains import ClientGains
from scripts.clients.holdout import HoldoutPeriod
from scripts.clients.todays_clients import PART_ROWS, TodaysClients, TodaysScores
from scripts.core import artifacts, column_words, keys
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.data import dataset
from scripts.data.arrays import Floats, Ints
from scripts.model import gain, rank_correlation, ranking
from scripts.model.gain import GainTerms
from scripts.model.logistic_model import Model
from scripts.production import live_drift, promotion_gate, shadow_types
from scripts.production.release import Release
from scripts.production.run_context import RunContext
from scripts.production.shadow_types import (
    ShadowClient,
    ShadowComparison,
    ShadowRequests,
    ShadowScores,
    ShadowSide,
)
from scripts.records import client_work as work_records
from scripts.records import database, predictions
from scripts.records.runs import Row

N_MOVES = 10
# Clients named on each side. The counts are of all.
MAX_NAMED = 500
NO_DATA = ranking.WORDS.index(ranking.NO_DATA)

log = logging.getLogger(__name__)


class ScoredRows(Struct, frozen=True):
    """The scores of a model in the order of the rows: probabilities, bands, predictions."""

    probability: Floats
    band: Ints
    threshold: float

    def describe(self) -> ShadowSide:
        """Return the share predicted to leave, the mean risk, and the numbers of the bands."""
        counts = np.bincount(self.band, minlength=len(ranking.WORDS)).tolist()
        return ShadowSide(
            predicted_fraction=float(np.mean(self.probability >= self.threshold)),
            mean_probability=float(np.mean(self.probability)),
            bands=dict(zip(ranking.WORDS, counts, strict=True)),
        )


class CallableClients(Struct, frozen=True):
    """The clients to call: rests of contacted clients, and held-out clients of the trial."""

    snoozed: Mapping[str, Row]
    today: date
    return_rise: float
    period: HoldoutPeriod | None
    key: bytes

    def may_call(self, client: str, probability: float) -> bool:
        """Return whether a client may be called at a risk."""
        if self.period is not None and holdout.is_held_out(self.key, client, self.period):
            return False
        snooze = self.snoozed.get(client)
        return not client_work.is_away(snooze, self.today, probability, self.return_rise)


class ShadowList(Struct, frozen=True):
    """Today's clients by the scores of a model: the places by risk, and the list to call."""

    scores: ScoredRows
    positions: Ints
    listed: list[int]


def compare_scores(candidate: ScoredRows, production: ScoredRows) -> ShadowScores:
    """Compare the scores of two models on the same rows, a row or more."""
    return ShadowScores(
        n_rows=len(candidate.probability),
        rank_correlation=rank_correlation.spearman(candidate.probability, production.probability),
        candidate=candidate.describe(),
        production=production.describe(),
        n_band_changes=int(np.sum(candidate.band != production.band)),
    )


def score_both(
    today: TodaysClients, models: tuple[Model, Model], config: Config
) -> tuple[ScoredRows, ScoredRows]:
    """Score today's clients with two models, a part of the rows in memory at a time."""
    scored = [
        ScoredRows(np.empty(len(today)), np.empty(len(today), np.int64), model.threshold)
        for model in models
    ]
    for rows in today.parts():
        values = today.values(rows)
        for model, found in zip(models, scored, strict=True):
            found.probability[rows], found.band[rows] = ranking.score(
                model, values, config.api, config.worklist
            )
    return scored[0], scored[1]


def find_terms(engine: Engine, config: Config) -> GainTerms | None:
    """Return costs and save rate behind the order by gain, None for a list by risk."""
    settings = config.worklist
    if settings.costs is None or settings.value is None:
        return None
    with database.reading(engine) as connection:
        rate = calling_effect.current_rate(connection, settings)
    return replace(gain.as_terms(settings.costs), alpha=rate.alpha, beta=rate.beta)


def find_callable(engine: Engine, config: Config, now: datetime) -> CallableClients:
    """Return the callable clients of today."""
    with database.reading(engine) as connection:
        last = work_records.last_entry(connection)
        snoozed = work_records.list_snoozed(connection, now.date(), last)
    period = holdout.find_period(config.worklist, now)
    return CallableClients(
        {row["client"]: row for row in snoozed}, now.date(), config.worklist.return_rise, period,
        b"" if period is None else keys.make_key(config.prod_deployment_path),
    )  # fmt: skip


def select_first(
    today: TodaysClients, order: Ints, scores: ScoredRows, n_wanted: int, who: CallableClients
) -> list[int]:
    """Return the first rows of an order with callable clients."""
    listed: list[int] = []
    for start in range(0, len(order), PART_ROWS):
        rows = order[start : start + PART_ROWS]
        for row, name in zip(rows.tolist(), today.names(rows), strict=True):
            if len(listed) == n_wanted:
                return listed
            if who.may_call(name, float(scores.probability[row])):
                listed.append(row)
    return listed


def find_gains(
    engine: Engine, today: TodaysClients, scores: ScoredRows, config: Config
) -> ClientGains | None:
    """Return the expected gains of today's clients, None for a list by risk."""
    terms = find_terms(engine, config)
    if terms is None:
        return None
    no_hashes = np.empty(0, np.uint32)
    scored = TodaysScores(no_hashes, scores.probability, scores.band.astype(np.uint8))
    return client_gains.find_gains(today, scored, config.worklist, terms)


def make_list(
    today: TodaysClients, scores: ScoredRows, config: Config, gains: ClientGains | None,
    who: CallableClients,
) -> ShadowList:  # fmt: skip
    """Order today's clients as the worklist does, and take the clients to call."""
    order = ranking.order_by_risk(scores.probability, scores.band)
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    if gains is not None:
        order = client_gains.order_by_gain(
            gains.at_risk(scores.probability), scores.band != NO_DATA, places
        )
    listed = select_first(today, order, scores, worklist.list_length(config.worklist), who)
    return ShadowList(scores, places + 1, listed)


def name_clients(
    today: TodaysClients, rows: list[int], candidate: ShadowList, production: ShadowList
) -> list[ShadowClient]:
    """Return clients with the probability and the place of both models."""
    if not rows:
        return []
    names = today.names(np.array(rows, np.int64))
    return [
        ShadowClient(
            client=name,
            candidate_probability=float(candidate.scores.probability[row]),
            production_probability=float(production.scores.probability[row]),
            candidate_position=int(candidate.positions[row]),
            production_position=int(production.positions[row]),
        )
        for row, name in zip(rows, names, strict=True)
    ]


def find_moves(candidate: ScoredRows, production: ScoredRows) -> list[int]:
    """Return the rows of the largest changes of the probability, the largest first."""
    change = np.abs(candidate.probability - production.probability)
    change[(candidate.band == NO_DATA) | (production.band == NO_DATA)] = 0
    n_moves = min(N_MOVES, len(change))
    # Not a sort of all: there may be a million clients.
    largest = np.sort(np.argpartition(-change, n_moves - 1)[:n_moves])
    ordered = largest[np.argsort(-change[largest], kind="stable")]
    return [row for row in ordered.tolist() if change[row] > 0]


def compare_clients(
    today: TodaysClients, models: tuple[Model, Model], config: Config, engine: Engine, now: datetime
) -> dict[str, Any]:
    """Return the members of the comparison on today's clients: scores, lists and moves."""
    if not len(today):
        return {"why_no_clients": "no client is without a label today"}
    candidate, production = score_both(today, models, config)
    gains = find_gains(engine, today, candidate, config)
    who = find_callable(engine, config, now)
    new = make_list(today, candidate, config, gains, who)
    old = make_list(today, production, config, gains, who)
    enter, leave = (
        [row for row in one.listed if row not in {*other.listed}]
        for one, other in ((new, old), (old, new))
    )
    moved = find_moves(candidate, production)
    reasons: list[list[str]] = []
    if moved:
        values = today.values(np.array(moved, np.int64))
        words = column_words.words_of(config.schema)
        reasons = shadow_reasons.explain_moves(models[0], models[1], values, words)
    named = name_clients(today, moved, new, old)
    return {
        "clients": compare_scores(candidate, production),
        "n_listed": max(len(new.listed), len(old.listed)),
        "n_enter": len(enter),
        "n_leave": len(leave),
        "enter": name_clients(today, enter[:MAX_NAMED], new, old),
        "leave": name_clients(today, leave[:MAX_NAMED], new, old),
        "moves": [
            msgspec.structs.replace(client, reasons=why)
            for client, why in zip(named, reasons, strict=True)
        ],
    }


def compare_requests(
    models: tuple[Model, Model], release: str, config: Config, engine: Engine
) -> dict[str, Any]:
    """Return the members of the comparison on logged requests, or why there is none.

    The log keeps the values of production's columns, and of the client a keyed hash only. So a
    candidate with further columns cannot be compared on it.
    """
    if config.api.log_predictions is None:
        return {"why_no_requests": "requests are not logged: api.log_predictions is not set"}
    candidate, production = models
    lacking = sorted(set(candidate.schema.features) - set(production.schema.features))
    if lacking:
        return {
            "why_no_requests": f"the log keeps the columns of release {release} only, and the"
            f" candidate reads {', '.join(lacking)} as well"
        }
    with database.reading(engine) as connection:
        rows = predictions.recent_predictions(connection, release, live_drift.MAX_ROWS)
    if not rows:
        return {"why_no_requests": f"no request to release {release} is logged yet"}
    table = live_drift.make_table(live_drift.last_of_each_client(rows), production.schema)
    values = dataset.feature_arrays(table, production.schema)
    new, old = (
        ScoredRows(*ranking.score(model, values, config.api, config.worklist), model.threshold)
        for model in models
    )
    both = compare_scores(new, old)
    requests = ShadowRequests(
        n_logged=len(rows), first_at=rows[-1]["at"].isoformat(), last_at=rows[0]["at"].isoformat(),
        **{name: getattr(both, name) for name in both.__struct_fields__},
    )  # fmt: skip
    return {"requests": requests}


def read_today(
    context: RunContext, table: pd.DataFrame, dataset_path: Path, candidate: Model
) -> TodaysClients | str:
    """Return today's clients with the candidate's columns, or why there are none."""
    path = Kind.SCHEMA.path(dataset_path.parent, artifacts.stamp_of(dataset_path))
    schema = dataset.read_schema(path, context.config.schema)
    if not schema.ids:
        return "today's clients have no identifier: name a column in schema.ids"
    todays_clients.check_columns(schema, candidate)
    kept = todays_columns.read(context, table, schema, candidate)
    return TodaysClients(table, schema, candidate.schema, kept)


def main(
    context: RunContext,
    engine: Engine,
    *,
    candidate: Model,
    production: Release,
    table: pd.DataFrame,
    dataset_path: Path,
) -> ShadowComparison:
    """Score today's clients and the logged requests with a candidate beside production.

    Parameters
    ----------
    context : RunContext
        The context of the run.
    engine : sqlalchemy.Engine
        The records, with the prediction log and the work with clients.
    candidate : Model
        The model that was just trained.
    production : Release
        The release in production.
    table : pandas.DataFrame of shape (n_clients, n_columns)
        Today's clients, one row each.
    dataset_path : Path
        The labelled rows of the same run.

    Returns
    -------
    ShadowComparison
        With reasons in place of what cannot be compared.

    Raises
    ------
    DatasetError
        If the input lacks a column.
    """
    config, now = context.config, datetime.now(UTC)
    mismatch = promotion_gate.find_mismatch(candidate.schema, production.model.schema)
    if mismatch:
        why = f"release {production.name} {mismatch}"
        return ShadowComparison(
            production_release=production.name, why_no_clients=why, why_no_requests=why
        )
    models = (candidate, production.model)
    today = read_today(context, table, dataset_path, candidate)
    members = (
        {"why_no_clients": today}
        if isinstance(today, str)
        else compare_clients(today, models, config, engine, now)
    )
    members |= compare_requests(models, production.name, config, engine)
    compared = ShadowComparison(production_release=production.name, **members)
    if compared.clients is not None:
        log.info(
            "Beside release %s the candidate lists %d other clients of %d; rank correlation %s.",
            production.name, compared.n_enter, compared.n_listed,
            shadow_types.format_correlation(compared.clients),
        )  # fmt: skip
    return compared
