"""Explanations of a client's risk, its changes and a model's effects, in terms that add up."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.data.arrays import Floats
from scripts.data.cells import MISSING_CATEGORY
from scripts.model.logistic_model import Columns, Model, NumericTerm, contributions

N_REASONS = 3
# A term below this many log-odds moves no probability by more than a thousandth.
SMALLEST_REASON = 0.004
# Odds ratios are cut off at exp(700), which floats can still hold.
LARGEST_POWER = 700.0


@dataclass(frozen=True)
class Reason:
    """The contribution of a column to a client's log-odds, against a typical staying client."""

    column: str
    value: float | str
    typical: float | str
    effect: float


@dataclass(frozen=True)
class RiskChange:
    """The change of clients' log-odds by moved feature and by retraining, as arrays."""

    before: Floats
    after: Floats
    movements: dict[str, Floats]
    retraining: Floats


@dataclass(frozen=True)
class Effect:
    """The change of log-odds and odds by a step of a column."""

    column: str
    step: str
    log_odds: float

    @property
    def odds_ratio(self) -> float:
        """The factor on the odds of leaving."""
        return math.exp(min(self.log_odds, LARGEST_POWER))


def log_odds(model: Model, terms: Mapping[str, Floats]) -> Floats:
    """Compute the log-odds of each row: intercept plus terms, in the order of the columns."""
    return np.asarray(sum(terms.values(), start=np.float64(model.intercept)), dtype=np.float64)


def fill_unknown(columns: Columns, others: Columns) -> dict[str, NDArray[Any]]:
    """Fill in the columns unknown at the time from the others, as unmoved."""
    return {**others, **columns}


def terms_of(model: Model, columns: Columns) -> dict[str, Floats]:
    """Compute the terms of a model, with 0 for unknown columns."""
    zeros = np.zeros(len(next(iter(columns.values()))))
    return dict.fromkeys(columns, zeros) | contributions(model, columns)


def split_change(old: Model, new: Model, earlier: Columns, later: Columns) -> RiskChange:
    """Split the change of each client's log-odds into its features' movements and the retraining.

    With c_j(m, x) the term of feature j under model m, the change c_j(m1, x1) - c_j(m0, x0) is

        movement_j   = [c_j(m0, x1) - c_j(m0, x0) + c_j(m1, x1) - c_j(m1, x0)] / 2
        retraining_j = [c_j(m1, x0) - c_j(m0, x0) + c_j(m1, x1) - c_j(m0, x1)] / 2

    and the retraining's effect is the sum of retraining_j over the features plus the change of
    the intercept. The order of the two does not matter: each gets half of the shared part.

    Parameters
    ----------
    old, new : Model
        The models of the earlier and of the later scoring; they may be the same.
    earlier, later : mapping of str to numpy.ndarray of shape (n_rows,)
        The values then and now, in the form of `logistic_model.contributions`, one row per
        client. A column missing from one of them counts as unmoved.

    Returns
    -------
    RiskChange
        Arrays of shape (n_rows,); before + all movements + retraining = after, to 1e-9.

    Notes
    -----
    The midpoint weights are those of Reimers (1983) for the decomposition of Oaxaca and Blinder,
    and equal the Shapley value of the two players "values" and "model" (Shorrocks, 2013).
    """
    then, now = fill_unknown(earlier, later), fill_unknown(later, earlier)
    old_then, old_now = terms_of(old, then), terms_of(old, now)
    new_then, new_now = terms_of(new, then), terms_of(new, now)
    movements = {
        name: (old_now[name] - old_then[name] + new_now[name] - new_then[name]) / 2
        for name in then
        if name in old.schema.features or name in new.schema.features
    }
    retraining = np.full(len(next(iter(then.values()))), new.intercept - old.intercept)
    for name in movements:
        change = new_then[name] - old_then[name] + new_now[name] - old_now[name]
        retraining = retraining + change / 2
    return RiskChange(log_odds(old, old_then), log_odds(new, new_now), movements, retraining)


def typical_values(model: Model) -> dict[str, float | str]:
    """Return the feature values of a typical staying client, as recorded by training.

    Models of earlier versions recorded none; there the medians of all clients stand for them,
    and the first category.
    """
    if model.dataset.typical is not None:
        return model.dataset.typical
    medians: dict[str, float | str] = {term.column: term.median for term in model.numeric}
    return medians | {t.column: next(iter(t.categories), "") for t in model.categorical}


def as_columns(model: Model, values: Mapping[str, float | str | None]) -> dict[str, NDArray[Any]]:
    """Return the values of a client as columns of one row, with NaN for None."""
    return {
        name: np.array([values[name]], np.float64 if name in model.schema.numeric else object)
        for name in model.schema.features
    }


def sum_of_terms(model: Model, columns: Columns) -> float:
    """Compute the log-odds of one client."""
    return float(log_odds(model, contributions(model, columns))[0])


def effects_beside_typical(
    model: Model, columns: Columns, typical: Mapping[str, float | str]
) -> dict[str, Floats]:
    """Compute the log-odds added by each column, against a typical staying client.

    Parameters
    ----------
    model : Model
        The model of the scoring.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The values, in the form of `logistic_model.contributions`.
    typical : mapping of str to float or str
        The value of each feature for a typical client who stays.

    Returns
    -------
    dict of str to numpy.ndarray of shape (n_rows,)
        Differences of two exact terms, positive for a higher risk.
    """
    references = contributions(model, as_columns(model, typical))
    return {name: term - references[name] for name, term in contributions(model, columns).items()}


def find_reasons(
    model: Model, columns: Columns, typical: Mapping[str, float | str]
) -> list[list[Reason]]:
    """Find the strongest contributions to each client's log-odds, as reasons.

    Parameters
    ----------
    model : Model
        The model in production.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The values, in the form of `logistic_model.contributions`.
    typical : mapping of str to float or str
        The value of each feature for a typical client who stays.

    Returns
    -------
    list of list of Reason
        For each row, at most three reasons, the strongest first; the effect is a difference of
        two exact terms, positive where it raises the risk.
    """
    effects = effects_beside_typical(model, columns, typical)
    names = list(effects)
    matrix = np.column_stack([effects[name] for name in names])
    ranks = np.argsort(-np.abs(matrix), axis=1, kind="stable")[:, :N_REASONS]
    return [
        [
            Reason(names[j], columns[names[j]][row], typical[names[j]], float(matrix[row, j]))
            for j in order
            if abs(matrix[row, j]) >= SMALLEST_REASON
        ]
        for row, order in enumerate(ranks)
    ]


def format_value(value: float | str) -> str:
    """Format a value for people."""
    if isinstance(value, str):
        return value or "no entry"
    return (
        "no entry" if np.isnan(value) else f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"
    )


def format_reason(reason: Reason) -> str:
    """Format a reason in plain words: value, typical value and direction."""
    direction = "raises" if reason.effect > 0 else "lowers"
    return (
        f"{reason.column} {format_value(reason.value)}, typical for staying clients"
        f" {format_value(reason.typical)}: {direction} the risk"
    )


def list_numeric_effects(term: NumericTerm, deviation: float | None) -> list[Effect]:
    """List the effects of a numeric column: a standard deviation more, and a missing value."""
    per_unit = term.coefficient / term.scale
    effects = [Effect(term.column, "1 more", per_unit)]
    if deviation:
        effects = [Effect(term.column, f"{deviation:.4g} more (1 SD)", per_unit * deviation)]
    if term.missing_coefficient:
        effects.append(Effect(term.column, "blank instead of the median", term.missing_coefficient))
    return effects


def list_effects(model: Model) -> list[Effect]:
    """List the effects of the columns of a model, strongest first.

    Parameters
    ----------
    model : Model
        Any model.

    Returns
    -------
    list of Effect
        For a numeric column a step of one standard deviation of the training data, for a
        categorical column each known category, and the rare categories together.
    """
    deviations = {s.column: s.standard_deviation for s in model.dataset.summary}
    effects = [e for t in model.numeric for e in list_numeric_effects(t, deviations.get(t.column))]
    for term in model.categorical:
        for category, coefficient in zip(term.categories, term.coefficients, strict=True):
            name = "blank" if category == MISSING_CATEGORY else category
            effects.append(Effect(term.column, name, coefficient))
        if term.rare:
            effects.append(
                Effect(term.column, f"{len(term.rare)} rare categories", term.rare_coefficient)
            )
    return sorted(effects, key=lambda effect: -abs(effect.log_odds))
