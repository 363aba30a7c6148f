"""Explanations of a client's risk and its changes, in terms that add up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.data.arrays import Floats
from scripts.model import logistic_model
from scripts.model.logistic_model import Columns, Model, TermKey

N_REASONS = 3
# A term below this many log-odds moves no probability by more than a thousandth.
SMALLEST_REASON = 0.004
# The third player beside two columns; no column has an empty name.
MODEL = ""


@dataclass(frozen=True)
class ReasonPart:
    """A column of a reason: the client's value, and that of a typical staying client."""

    column: str
    value: float | str
    typical: float | str


@dataclass(frozen=True)
class Reason:
    """The contribution of a column, or of a pair, beside a typical staying client.

    A pair has two parts.
    """

    parts: tuple[ReasonPart, ...]
    effect: float


@dataclass(frozen=True)
class RiskChange:
    """The change of clients' log-odds by moved feature and by retraining, as arrays."""

    before: Floats
    after: Floats
    movements: dict[str, Floats]
    retraining: Floats


def log_odds(model: Model, terms: Mapping[TermKey, Floats]) -> Floats:
    """Compute the log-odds of each row: intercept plus terms, in the order of the terms."""
    return np.asarray(sum(terms.values(), start=np.float64(model.intercept)), dtype=np.float64)


def fill_unknown(columns: Columns, others: Columns) -> dict[str, NDArray[Any]]:
    """Fill in the columns unknown at the time from the others, as unmoved."""
    return {**others, **columns}


def terms_of(model: Model, columns: Columns, keys: Iterable[TermKey]) -> dict[TermKey, Floats]:
    """Compute the terms of a model, with 0 for columns and pairs unknown to it."""
    zeros = np.zeros(len(next(iter(columns.values()))))
    return dict.fromkeys(keys, zeros) | logistic_model.terms(model, columns)


def find_term(model: Model, columns: Columns, key: TermKey) -> Floats:
    """Compute one term of a model, 0 for a pair unknown to it."""
    # The two columns of a pair may stand in another order in another model.
    pair = next((pair for pair in model.pairs if {*pair.columns} == {*key}), None)
    if pair is None:
        return np.zeros(len(next(iter(columns.values()))))
    return logistic_model.pair_effects(pair, logistic_model.known_categories(model), columns)


def split_pair(
    old: Model, new: Model, then: Columns, now: Columns, key: TermKey
) -> tuple[Floats, Floats, Floats]:
    """Split the change of a pair's term between its two columns and the retraining.

    Parameters
    ----------
    old, new : Model
        The models of the earlier and of the later scoring.
    then, now : mapping of str to numpy.ndarray of shape (n_rows,)
        All values of both models' columns at both times.
    key : tuple of str
        The two columns of the pair.

    Returns
    -------
    tuple of numpy.ndarray of shape (n_rows,)
        The parts of the first column, of the second column, and of the retraining. Together they
        are the change of the term.

    Notes
    -----
    The Shapley value of three players (Shapley, "A value for n-person games", 1953; Shorrocks,
    "Decomposition procedures for distributional analysis", 2013): the mean over the six orders in
    which the first column, the second column and the model can move.
    """
    first, second = key

    def term(*moved: str) -> Floats:
        columns = {**then, **{name: now[name] for name in key if name in moved}}
        return find_term(new if MODEL in moved else old, columns, key)

    corners = {
        frozenset(moved): term(*moved)
        for n_moved in range(4)
        for moved in combinations((first, second, MODEL), n_moved)
    }
    parts = dict.fromkeys((first, second, MODEL), np.zeros(len(now[first])))
    orders = list(permutations(parts))
    for order in orders:
        moved: frozenset[str] = frozenset()
        for player in order:
            after = moved | {player}
            parts[player] = parts[player] + (corners[after] - corners[moved]) / len(orders)
            moved = after
    return parts[first], parts[second], parts[MODEL]


def split_change(old: Model, new: Model, earlier: Columns, later: Columns) -> RiskChange:
    """Split the change of each client's log-odds into its features' movements and the retraining.

    With c_j(m, x) the term of feature j under model m, the change c_j(m1, x1) - c_j(m0, x0) is

        movement_j   = [c_j(m0, x1) - c_j(m0, x0) + c_j(m1, x1) - c_j(m1, x0)] / 2
        retraining_j = [c_j(m1, x0) - c_j(m0, x0) + c_j(m1, x1) - c_j(m0, x1)] / 2

    and the retraining's effect is the sum of retraining_j over the features plus the change of
    the intercept. The order of the two does not matter: each gets half of the shared part. The
    change of a pair's term is split by `split_pair` between both columns and the retraining.

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
    keys = [(name,) for name in then]
    old_then, old_now = terms_of(old, then, keys), terms_of(old, now, keys)
    new_then, new_now = terms_of(new, then, keys), terms_of(new, now, keys)
    movements = {}
    retraining = np.full(len(next(iter(then.values()))), new.intercept - old.intercept)
    for key in keys:
        if key[0] not in (*old.schema.features, *new.schema.features):
            continue
        movement = old_now[key] - old_then[key] + new_now[key] - new_then[key]
        change = new_then[key] - old_then[key] + new_now[key] - old_now[key]
        movements[key[0]] = movement / 2
        retraining = retraining + change / 2
    paired = {frozenset(pair.columns): pair.columns for m in (new, old) for pair in m.pairs}
    for pair in paired.values():
        of_first, of_second, of_model = split_pair(old, new, then, now, pair)
        movements[pair[0]] = movements[pair[0]] + of_first
        movements[pair[1]] = movements[pair[1]] + of_second
        retraining = retraining + of_model
    return RiskChange(
        log_odds(old, logistic_model.terms(old, then)),
        log_odds(new, logistic_model.terms(new, now)),
        movements,
        retraining,
    )


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
    return float(log_odds(model, logistic_model.terms(model, columns))[0])


def effects_beside_typical(
    model: Model, columns: Columns, typical: Mapping[str, float | str]
) -> dict[TermKey, Floats]:
    """Compute the log-odds added by each column and pair, against a typical staying client.

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
    dict of tuple of str to numpy.ndarray of shape (n_rows,)
        Differences of two exact terms, positive for a higher risk.
    """
    references = logistic_model.terms(model, as_columns(model, typical))
    found = logistic_model.terms(model, columns)
    return {key: term - references[key] for key, term in found.items()}


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
    keys = list(effects)
    matrix = np.column_stack([effects[key] for key in keys])
    ranks = np.argsort(-np.abs(matrix), axis=1, kind="stable")[:, :N_REASONS]
    return [
        [
            Reason(
                tuple(ReasonPart(name, columns[name][row], typical[name]) for name in keys[j]),
                float(matrix[row, j]),
            )
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
    values = " with ".join(f"{part.column} {format_value(part.value)}" for part in reason.parts)
    typical = " with ".join(format_value(part.typical) for part in reason.parts)
    return f"{values}, typical for staying clients {typical}: {direction} the risk"
