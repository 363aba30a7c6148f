"""The history of a client and the outcomes of the predictions, from the records."""

import difflib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, Struct
from sqlalchemy.engine import Connection, Engine

from scripts.clients import client_reasons, client_work, worklist
from scripts.clients.client_reasons import Value
from scripts.clients.response_types import (
    Change,
    ClientDetails,
    DecileEntry,
    Movement,
    Outcomes,
    ReasonEntry,
    ScoreEntry,
)
from scripts.clients.worklist import AUTO, N_SHOWN
from scripts.core.column_words import PLAIN, ColumnWords
from scripts.core.config import ApiSettings, WorklistSettings
from scripts.model import explanation, outcome_metrics, ranking
from scripts.model.logistic_model import Model
from scripts.model.outcome_metrics import DecileCounts, OutcomeCounts
from scripts.records import client_work as client_work_records
from scripts.records import clients, database, outcome_records, people_names, scoring_records
from scripts.records.runs import Row

SMALLEST_EFFECT = 1e-12
MAX_SIMILAR = 5
# A misspelled name is compared with so many clients within a second.
MAX_COMPARED = 20_000


class BaselineTerm(Struct, frozen=True):
    """The part of a column, or of a pair, in a client's log-odds, beside the baseline.

    `compared` is the baseline in words.
    """

    columns: tuple[str, ...]
    values: tuple[Value, ...]
    compared: str
    effect: float


class LogOddsSum(Struct, frozen=True):
    """The log-odds of a client: the baseline plus a term per column and pair."""

    baseline_log_odds: float
    terms: list[BaselineTerm]
    log_odds: float


def describe_movement(
    column: str, before: Value, after: Value, effect: float, words: ColumnWords = PLAIN
) -> str:
    """Describe the change of a column's value and the effect on the risk."""
    old, new = (words.value(column, value) for value in (before, after))
    direction = "raised" if effect > 0 else "lowered"
    moved = f"from {old} to {new}" if old != new else f"still {old}"
    return f"{words.name(column)} {moved}: {direction} the risk"


def describe_change(movements: Sequence[Movement], retraining: float, *, is_retrained: bool) -> str:
    """Describe the causes of a change of risk in a line."""
    parts = [movement.text for movement in movements[: explanation.N_REASONS]]
    if is_retrained:
        direction = "raised" if retraining > 0 else "lowered"
        parts.append(f"the model was trained again: {direction} the risk")
    return "; ".join(parts) or "nothing changed"


def explain_change(
    old: Model, new: Model, before: ScoreEntry, after: ScoreEntry, words: ColumnWords = PLAIN
) -> Change:
    """Split the change between two scores of a client into movements, the strongest first."""
    old_columns = explanation.as_columns(old, before.values)
    new_columns = explanation.as_columns(new, after.values)
    split = explanation.split_change(old, new, old_columns, new_columns)
    effects = {name: float(part[0]) for name, part in split.movements.items()}
    movements = []
    for name in sorted(effects, key=lambda name: -abs(effects[name])):
        old_value, new_value = before.values.get(name), after.values.get(name)
        if name not in before.values:
            old_value = new_value
        if name not in after.values:
            new_value = old_value
        if abs(effects[name]) < SMALLEST_EFFECT and old_value == new_value:
            continue
        text = describe_movement(name, old_value, new_value, effects[name], words)
        movements.append(
            Movement(
                column=name, before=old_value, after=new_value, effect=effects[name], text=text
            )
        )
    retraining = float(split.retraining[0])
    is_retrained = before.model_stamp != after.model_stamp
    return Change(
        before_at=before.scored_at,
        after_at=after.scored_at,
        before_probability=before.probability,
        after_probability=after.probability,
        before_log_odds=float(split.before[0]),
        after_log_odds=float(split.after[0]),
        movements=movements,
        retraining=retraining,
        is_retrained=is_retrained,
        text=describe_change(movements, retraining, is_retrained=is_retrained),
    )


def are_comparable(old: Model, new: Model) -> bool:
    """Return whether every column has the same kind, numeric or categorical, in both models."""
    return not (
        set(old.schema.numeric) & set(new.schema.categorical)
        or set(old.schema.categorical) & set(new.schema.numeric)
    )


def find_similar_names(connection: Connection, client: str) -> list[str]:
    """Find a few client names by a part of the name, or the most similar names."""
    names = clients.names_with(connection, client, MAX_SIMILAR) if client.strip() else []
    scoring = scoring_records.last_scoring(connection)
    if names or scoring is None:
        return names
    names = clients.names_of_scoring(connection, scoring["id"], MAX_COMPARED)
    by_folded = {name.casefold(): name for name in names}
    similar = difflib.get_close_matches(client.casefold(), list(by_folded), n=MAX_SIMILAR)
    return [by_folded[name] for name in similar]


def describe_baseline(
    key: tuple[str, ...], shares: Mapping[str, Mapping[str, float]], typical: Mapping[str, Value],
    values: Mapping[str, Value], words: ColumnWords,
) -> str:  # fmt: skip
    """Describe the baseline of a term in words."""
    if len(key) == 1 and key[0] in shares:
        share = shares[key[0]].get(str(values[key[0]] or ""), 0.0)
        return f"all clients, {share:.1%} of whom have this"
    return " with ".join(words.value(name, typical[name]) for name in key)


def split_risk(connection: Connection, score: ScoreEntry, words: ColumnWords = PLAIN) -> LogOddsSum:
    """Split the log-odds of a score into terms per column and pair, the strongest first.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    score : ScoreEntry
        The score of a client.
    words : ColumnWords
        The words for values.

    Returns
    -------
    LogOddsSum
        The baseline's log-odds and all terms add up to the client's log-odds.
    """
    model = worklist.read_model(connection, score.model_stamp)
    columns, typical = (
        explanation.as_columns(model, score.values),
        explanation.typical_values(model),
    )
    shares = explanation.category_shares(model)
    effects = explanation.effects_beside_baseline(model, columns, typical)
    terms = [
        BaselineTerm(
            key,
            tuple(score.values[name] for name in key),
            describe_baseline(key, shares, typical, score.values, words),
            float(effect[0]),
        )
        for key, effect in sorted(effects.items(), key=lambda item: -abs(item[1][0]))
    ]
    baseline = explanation.baseline_terms(model, typical)
    return LogOddsSum(
        baseline_log_odds=model.intercept + sum(baseline.values()),
        terms=terms,
        log_odds=explanation.sum_of_terms(model, columns),
    )


def find_reasons_of_client(
    models: Mapping[str, Model], history: Sequence[ScoreEntry], words: ColumnWords
) -> list[ReasonEntry]:
    """Return the reasons of a client's last score, with the values of the score before."""
    model = models[history[0].model_stamp]
    before = None
    if len(history) > 1 and are_comparable(models[history[1].model_stamp], model):
        values = {**history[0].values, **history[1].values}
        before = explanation.as_columns(model, values)
    columns = explanation.as_columns(model, history[0].values)
    return client_reasons.list_reasons(model, columns, words, before)[0]


def find_value(row: Row, column: str) -> client_reasons.Value:
    """Return the value of a client in a feature, or in a column kept for people."""
    value: client_reasons.Value = {**row["kept"], **row["values"]}.get(column)
    return value


def describe_gain(row: Row) -> dict[str, Any]:
    """Return the worth and the expected gain of a client as members, unset without a worth."""
    gain = row.get("gain")
    return {"value": row.get("value", UNSET), "gain": UNSET if gain is None else gain}


def client_page(
    connection: Connection,
    settings: WorklistSettings,
    client: str,
    api: ApiSettings = AUTO,
    words: ColumnWords = PLAIN,
) -> ClientDetails | None:
    """Return the details of a client, None for a client without a score.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    settings : WorklistSettings
        With the capacity of the team.
    client : str
        The name.
    api : ApiSettings
        The limits of the bands.
    words : ColumnWords
        The words of reasons and changes.
    """
    rows = clients.history_of_client(connection, client, N_SHOWN)
    if not rows:
        return None
    stamps = dict.fromkeys(row["model_stamp"] for row in rows)
    models = {stamp: worklist.read_model(connection, stamp) for stamp in stamps}
    history = [worklist.as_score(row, models[row["model_stamp"]], api) for row in rows]
    model = models[history[0].model_stamp]
    change = None
    if len(history) > 1 and are_comparable(models[history[1].model_stamp], model):
        change = explain_change(
            models[history[1].model_stamp], model, history[1], history[0], words
        )
    scoring = scoring_records.last_scoring(connection)
    n_listed = worklist.list_length(settings)
    ended = outcome_records.outcomes_of_client(connection, client)
    entries = client_work_records.list_work(connection, [client]).get(client, [])
    return ClientDetails(
        client=client,
        is_current=scoring is not None and scoring["id"] == rows[0]["scoring_id"],
        last=history[0],
        limits=ranking.band_limits(model, api),
        reasons=find_reasons_of_client(models, history, words),
        change=change,
        history=history,
        outcomes=[worklist.as_outcome(row, n_listed, api) for row in ended],
        work=client_work.make_state(
            entries, datetime.now(UTC).date(), history[0].probability, settings
        ),
        work_history=client_work.as_history(entries[::-1], {client: entries}),
        release=history[0].release,
        columns={name: find_value(rows[0], name) for name in settings.columns},
        names=rows[0]["names"] or UNSET,
        **describe_gain(rows[0]),
        held_out_until=rows[0]["held_out_until"] or UNSET,
    )


def count_all(connection: Connection, n_listed: int) -> OutcomeCounts:
    """Count the outcomes of the records, with a list of some length for each scoring."""
    groups = outcome_records.read_judged(connection)
    bins = outcome_records.count_by_tenth(groups)
    n_warned, median_s = outcome_records.measure_warning(groups)
    return OutcomeCounts(
        **outcome_records.count_outcomes(connection, groups, n_listed),
        deciles=[DecileCounts(*counts) for counts in bins],
        n_warned=n_warned,
        warning_s_median=median_s,
    )


def read_counts(connection: Connection, n_listed: int) -> OutcomeCounts | None:
    """Return the counts that the last run has recorded, None if damaged or no longer true."""
    return outcome_metrics.decode_counts(outcome_records.find_counts(connection, n_listed))


def count_outcomes(connection: Connection, n_listed: int) -> OutcomeCounts:
    """Return the counts of `count_all`, of many outcomes those that the last run has recorded."""
    known = read_counts(connection, n_listed) if outcome_records.has_many(connection) else None
    return count_all(connection, n_listed) if known is None else known


def record_counts(engine: Engine, settings: WorklistSettings) -> None:
    """Record the counts of groups, and those over many outcomes, for quick pages."""
    outcome_records.record_group_counts(engine)
    n_listed = worklist.list_length(settings)
    with database.reading(engine) as connection:
        if not outcome_records.has_many(connection) or read_counts(connection, n_listed):
            return
        state = outcome_records.describe_state(connection)
        content = msgspec.json.encode(count_all(connection, n_listed))
    with database.writing(engine) as connection:
        outcome_records.record_counts(connection, n_listed, content, state)


def outcomes_page(
    connection: Connection,
    settings: WorklistSettings,
    api: ApiSettings = AUTO,
    kept_days: int | None = None,
) -> Outcomes:
    """Return the outcomes beside the predictions, with precision and recall of the worklist.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    settings : WorklistSettings
        With the capacity of the team. So many clients of each scoring count as listed.
    api : ApiSettings
        The limits of the bands.
    kept_days : int, optional
        The age of the oldest outcomes, None for all outcomes.
    """
    n_listed = worklist.list_length(settings)
    counted = outcome_metrics.follow_up(count_outcomes(connection, n_listed))
    shown = outcome_records.last_outcomes(connection, N_SHOWN)
    names = people_names.find_names(connection, [row["client"] for row in shown])
    scoring = scoring_records.last_scoring(connection)
    precision, recall = (
        worklist.as_interval(counted.precision),
        worklist.as_interval(counted.recall),
    )
    text = f"Not enough outcomes yet: {counted.n_outcomes} of {outcome_metrics.MIN_OUTCOMES}."
    if counted.is_enough:
        left, listed = map(worklist.format_share, (precision, recall))
        text = f"Of those listed {left} left; of those who left {listed} were listed."
    if kept_days is not None:
        text += f" Outcomes older than {kept_days} days are forgotten."
    return Outcomes(
        is_enough=counted.is_enough,
        text=text,
        n_outcomes=counted.n_outcomes,
        n_needed=outcome_metrics.MIN_OUTCOMES,
        n_listed_per_scoring=n_listed,
        precision=precision,
        recall=recall,
        n_missed=counted.n_missed,
        n_false_alarms=counted.n_false_alarms,
        deciles=[
            msgspec.convert(decile, DecileEntry, from_attributes=True) for decile in counted.deciles
        ],
        warning_days_median=counted.warning_days_median,
        n_warned=counted.n_warned,
        outcomes=[
            msgspec.structs.replace(
                worklist.as_outcome(row, n_listed, api), names=names.get(row["client"], UNSET)
            )
            for row in shown
        ],
        release=None if scoring is None else scoring["release"],
        kept_days=kept_days,
    )
