"""Explanations of a client's risk and its changes, in terms that add up."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, combinations, permutations
from typing import Any

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from scripts.core.column_words import NO_ENTRY, PLAIN, ColumnWords
from scripts.data.arrays import Floats
from scripts.model import logistic_model
from scripts.model.logistic_model import Columns, Model, TermKey

# Reasons that raise the risk come first, then those that lower it.
N_REASONS, N_FAVOURS = 3, 2
# Columns of a group in a sentence.
N_PARTS = 3
ONE_PERCENT = 0.01
# A term below this many log-odds moves no probability by more than a thousandth.
SMALLEST_REASON = 0.004
# The third player beside two columns; no column has an empty name.
MODEL = ""


class ReasonPart(Struct, frozen=True):
    """A column of a reason: the client's value, the value before, and the compared level.

    A number is compared with that of a typical client who stays. A category has the share of
    clients with it, None where no counts are kept. `before` is None unless its change explains the
    effect.
    """

    column: str
    value: float | str
    typical: float | str
    share: float | None = None
    before: float | str | None = None


class Reason(Struct, frozen=True):
    """The contribution of a column, of a pair, or of a group of columns, beside the baseline.

    The effect is the sum of the terms, positive where it raises the risk.
    """

    parts: tuple[ReasonPart, ...]
    effect: float
    group: str = ""


class RiskChange(Struct, frozen=True):
    """The change of clients' log-odds by moved feature and by retraining, as arrays."""

    before: Floats
    after: Floats
    movements: dict[str, Floats]
    retraining: Floats


def log_odds(model: Model, terms: Mapping[TermKey, Floats]) -> Floats:
    """Compute the log-odds of each row: intercept plus terms, in the order of the terms."""
    return np.asarray(sum(terms.values(), start=np.float64(model.intercept)), dtype=np.float64)


def fill_unknown(columns: Columns, others: Columns) -> dict[str, NDArray[Any]]:
    """Fill in the columns unknown at the time from the other values, as unmoved."""
    return {**others, **columns}


def terms_of(model: Model, columns: Columns, keys: Iterable[TermKey]) -> dict[TermKey, Floats]:
    """Compute the terms of a model, with 0 for unknown columns and pairs."""
    zeros = np.zeros(len(next(iter(columns.values()))))
    return dict.fromkeys(keys, zeros) | logistic_model.terms(model, columns)


def find_term(model: Model, columns: Columns, key: TermKey) -> Floats:
    """Compute the term of a column or pair, 0 for an unknown pair."""
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
        """Compute the pair's term after the moves of columns and model."""
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
    """Split the change of each client's log-odds into movements of features and the retraining.

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
    """Return the values of a client as columns of a single row, with NaN for None."""
    return {
        name: np.array([values[name]], np.float64 if name in model.schema.numeric else object)
        for name in model.schema.features
    }


def sum_of_terms(model: Model, columns: Columns) -> float:
    """Compute the log-odds of one client."""
    return float(log_odds(model, logistic_model.terms(model, columns))[0])


def category_shares(model: Model) -> dict[str, dict[str, float]]:
    """Return the share of each category among the training rows, by column, if kept."""
    kept = model.dataset.reference
    counts = {} if kept is None else kept.categorical
    return {
        name: {category: n / total for category, n in column.items()}
        for name, column in counts.items()
        if name in model.schema.categorical and (total := sum(column.values()))
    }


def baseline_terms(model: Model, typical: Mapping[str, float | str]) -> dict[TermKey, float]:
    """Return the terms of the baseline: numbers at typical values, categories at their mean.

    Parameters
    ----------
    model : Model
        The model of the scoring.
    typical : mapping of str to float or str
        The value of each feature for a typical client who stays.

    Returns
    -------
    dict of tuple of str to float
        The term of a number, and of a pair, at the typical values. The term of a category is the
        mean over all training rows, since the most frequent category may be that of a few. Without
        counts it is that of the typical category.
    """
    terms = logistic_model.terms(model, as_columns(model, typical))
    found = {key: float(term[0]) for key, term in terms.items()}
    shares = category_shares(model)
    for term in model.categorical:
        if term.column in shares:
            effects = term.effects
            found[(term.column,)] = sum(
                share * effects.get(category, 0.0)
                for category, share in shares[term.column].items()
            )
    return found


def effects_beside_baseline(
    model: Model, columns: Columns, typical: Mapping[str, float | str]
) -> dict[TermKey, Floats]:
    """Compute the log-odds added by each column and pair, against the baseline.

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
    baseline = baseline_terms(model, typical)
    found = logistic_model.terms(model, columns)
    return {key: term - baseline[key] for key, term in found.items()}


def name_reason(key: TermKey, words: ColumnWords) -> tuple[str, ...]:
    """Return the reason of a term: the common group of the columns, or the columns."""
    groups = {words.group_of.get(column, "") for column in key}
    return (groups.pop(),) if len(groups) == 1 and "" not in groups else ("", *key)


def sum_by_reason(
    effects: Mapping[TermKey, Floats], words: ColumnWords
) -> dict[tuple[str, ...], Floats]:
    """Return the exact sum of the terms of each reason: a group, a column or a pair."""
    summed: dict[tuple[str, ...], Floats] = {}
    for key, effect in effects.items():
        name = name_reason(key, words)
        summed[name] = summed[name] + effect if name in summed else effect
    return summed


def choose_reasons(effects: Floats) -> list[list[int]]:
    """Return the places of each client's reasons: the reasons to leave first, strongest first.

    Parameters
    ----------
    effects : numpy.ndarray of shape (n_clients, n_reasons)
        In log-odds.
    """
    order = np.argsort(-np.abs(effects), axis=1, kind="stable")
    ranked = np.take_along_axis(effects, order, axis=1)
    is_strong = np.abs(ranked) >= SMALLEST_REASON
    chosen: list[list[int]] = [[] for _ in effects]
    for is_wanted, limit in ((ranked > 0, N_REASONS), (ranked < 0, N_FAVOURS)):
        fits = is_wanted & is_strong
        rows, ranks = np.nonzero(fits & (np.cumsum(fits, axis=1) <= limit))
        for row, place in zip(rows.tolist(), order[rows, ranks].tolist(), strict=True):
            chosen[row].append(place)
    return chosen


def list_values(column: NDArray[Any]) -> list[float | str]:
    """Return the values of a column, without -0, and with one object for all missing numbers."""
    if column.dtype == np.object_:
        texts: list[float | str] = column.tolist()
        return texts
    values = (column + 0.0).astype(object)
    # NaN is equal to nothing but, within a tuple, the same object.
    values[np.isnan(column)] = math.nan
    numbers: list[float | str] = values.tolist()
    return numbers


class PartFinder(Struct, frozen=True):
    """The values and effects of columns, as input for the parts of reasons.

    `shares` are those of the categories of a column. `moved` is what the change since the score
    before adds to the term of a column.
    """

    columns: Columns
    typical: Mapping[str, float | str]
    shares: Mapping[str, Mapping[str, float]]
    effects: Mapping[TermKey, Floats]
    before: Columns
    moved: Mapping[TermKey, Floats]
    values: dict[str, list[float | str]] = field(default_factory=dict)
    earlier: dict[str, list[float | str | None]] = field(default_factory=dict)

    def read(self, columns: Sequence[str]) -> list[Sequence[float | str | None]]:
        """Return the values of columns by client, now and before."""
        for column in columns:
            if column not in self.values:
                self.values[column] = list_values(self.columns[column])
                self.earlier[column] = self.values_before(column)
        return [part[column] for column in columns for part in (self.values, self.earlier)]

    def values_before(self, column: str) -> list[float | str | None]:
        """Return the values before, None where the change makes less than half of the effect."""
        if column not in self.before:
            return [None] * len(self.columns[column])
        effect, moved = self.effects[(column,)], self.moved[(column,)]
        values = self.before[column]
        is_known = values != "" if values.dtype == np.object_ else ~np.isnan(values)
        is_cause = (moved * effect > 0) & (np.abs(moved) >= np.abs(effect) / 2)
        earlier = values.astype(object)
        earlier[~(is_known & is_cause)] = None
        found: list[float | str | None] = earlier.tolist()
        return found

    def part(self, column: str, row: int) -> ReasonPart:
        """Return a column of a reason."""
        value = self.values[column][row]
        share = None
        if column in self.shares:
            share = self.shares[column].get(str(value), 0.0)
        return ReasonPart(column, value, self.typical[column], share, self.earlier[column][row])

    def parts(self, columns: Sequence[str], row: int) -> tuple[ReasonPart, ...]:
        """Return several columns of a reason, the strongest first."""
        effect = {column: abs(float(self.effects[(column,)][row])) for column in columns}
        return tuple(self.part(c, row) for c in sorted(columns, key=lambda c: -effect[c]))


def find_moves(
    model: Model, columns: Columns, before: Columns | None
) -> tuple[Columns, dict[TermKey, Floats]]:
    """Return the values before and the change of each term by them, {} if unknown."""
    if before is None or any(name not in before for name in model.schema.features):
        return {}, {}
    earlier = logistic_model.terms(model, before)
    present = logistic_model.terms(model, columns)
    return before, {key: term - earlier[key] for key, term in present.items()}


def find_reasons(
    model: Model,
    columns: Columns,
    typical: Mapping[str, float | str],
    words: ColumnWords = PLAIN,
    before: Columns | None = None,
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
    words : ColumnWords
        The groups of columns that are told as one reason.
    before : mapping of str to numpy.ndarray of shape (n_rows,), optional
        The values at the score before, the present ones for clients without.

    Returns
    -------
    list of list of Reason
        For each row, at most three reasons that raise the risk, then at most two that lower it, the
        strongest first. Equal reasons of two rows are one object.
    """
    effects = effects_beside_baseline(model, columns, typical)
    known, moved = find_moves(model, columns, before)
    finder = PartFinder(columns, typical, category_shares(model), effects, known, moved)
    summed = sum_by_reason(effects, words)
    keys, matrix = list(summed), np.column_stack(list(summed.values()))
    members: dict[str, list[str]] = {}
    for column in columns:
        members.setdefault(words.group_of.get(column, ""), []).append(column)
    columns_of = [members[group] if group else own for group, *own in keys]
    chosen = choose_reasons(matrix)
    values_of = {place: finder.read(columns_of[place]) for place in {*chain(*chosen)}}
    found: dict[tuple[Any, ...], Reason] = {}

    def reason(row: int, place: int) -> Reason:
        """Return a reason of a client, made once for all clients with the same values."""
        key = (place, *[values[row] for values in values_of[place]])
        if key not in found:
            group, own = keys[place][0], columns_of[place]
            parts = (
                finder.parts(own, row) if group else tuple(finder.part(name, row) for name in own)
            )
            found[key] = Reason(parts, float(matrix[row, place]), group)
        return found[key]

    return [[reason(row, place) for place in places] for row, places in enumerate(chosen)]


def format_value(value: float | str) -> str:
    """Format a value for people."""
    if isinstance(value, str):
        return value or NO_ENTRY
    return NO_ENTRY if np.isnan(value) else f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"


def describe_part(part: ReasonPart, words: ColumnWords) -> str:
    """Describe a column of a reason in words: the value, or its change since the score before."""
    name, value = words.name(part.column), words.value(part.column, part.value)
    if part.before is None:
        return f"{name} {value}"
    earlier = words.value(part.column, part.before)
    if isinstance(part.value, str) or isinstance(part.before, str) or value == NO_ENTRY:
        return f"{name} changed from {earlier} to {value}"
    return f"{name} {'fell' if part.value < part.before else 'rose'} from {earlier} to {value}"


def compare_part(part: ReasonPart, words: ColumnWords) -> str:
    """Describe the comparison level of a reason's value."""
    if part.share is not None:
        percent = f"{part.share:.0%}" if part.share >= ONE_PERCENT else "under 1%"
        return f", as {percent} of clients" if part.share else ", as no client before"
    if part.before is not None:
        return ""
    return f"; clients who stay: {words.value(part.column, part.typical)}"


def format_reason(reason: Reason, words: ColumnWords = PLAIN) -> str:
    """Format a reason as a sentence for a manager: the value and the comparison level."""
    described = [describe_part(part, words) for part in reason.parts[:N_PARTS]]
    if reason.group:
        text = f"{reason.group}: {', '.join(described)}"
    elif len(described) > 1:
        text = f"{' with '.join(described)}"
    else:
        text = described[0] + compare_part(reason.parts[0], words)
    return text if reason.effect > 0 else f"in favour: {text}"
