"""The terms of two models beside each other, and their metrics on the same rows."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scripts.core.config import Config, Schema
from scripts.core.errors import DatasetError
from scripts.data import dataset, profile
from scripts.data.arrays import Floats, Ints
from scripts.model import explanation, logistic_model, metrics, paired_metrics
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm, PairAxis, PairTerm
from scripts.model.paired_metrics import MetricTerms
from scripts.production.comparison_types import MetricChange, TermChange, TermKind, TermPoint

# A difference of fewer log-odds changes no probability by more than a thousandth.
SMALLEST = explanation.SMALLEST_REASON
# The points of a curve between its ends.
N_POINTS = 33
# The ends leave out so many clients, or a single one would squeeze all others.
SHARE_OUTSIDE = 0.005

Term = NumericTerm | CategoricalTerm


def find_ends(model: Model, column: str) -> tuple[float, float] | None:
    """Return the range of a column among the clients of a model, None if unknown."""
    kept = model.dataset.reference
    bins = None if kept is None else kept.numeric.get(column)
    if bins is not None and bins.edges:
        return profile.quantile(bins, SHARE_OUTSIDE), profile.quantile(bins, 1 - SHARE_OUTSIDE)
    term = next((term for term in model.numeric if term.column == column), None)
    if term is None:
        return None
    if term.knots:
        return term.knots[0], term.knots[-1]
    return term.mean - 2 * term.scale, term.mean + 2 * term.scale


def choose_numbers(models: Iterable[Model], column: str) -> NDArray[np.float64]:
    """Return rising numbers for the comparison of a term, over the clients of both models."""
    models = list(models)
    ends = [found for model in models if (found := find_ends(model, column)) is not None]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    knots = {
        knot
        for model in models
        for term in model.numeric
        if term.column == column
        for knot in term.knots
        if low < knot < high
    }
    return np.unique([*np.linspace(low, high, N_POINTS), *knots])


def list_terms(model: Model) -> dict[str, Term]:
    """Return the terms of single columns by name."""
    numbers: dict[str, Term] = {term.column: term for term in model.numeric}
    return numbers | {term.column: term for term in model.categorical}


def name_kind(term: Term | None) -> TermKind:
    """Return the kind of a term."""
    if term is None:
        return "absent"
    if isinstance(term, CategoricalTerm):
        return "categories"
    return "curve" if len(term.knots) > 2 else "line"


def values_at(term: Term | None, values: NDArray[Any]) -> list[float | None]:
    """Return the log-odds of a term at some values, None for an absent term or category."""
    if term is None:
        return [None] * len(values)
    if isinstance(term, NumericTerm):
        found: list[float | None] = logistic_model.numeric_effects(term, values).tolist()
        return found
    effects = term.effects
    return [effects.get(value) for value in values]


def make_points(values: Sequence[Any], terms: tuple[Term | None, Term | None]) -> list[TermPoint]:
    """Return the log-odds of two terms at some values."""
    is_number = not any(isinstance(term, CategoricalTerm) for term in terms)
    column = np.array(values, np.float64 if is_number else object)
    pairs = zip(*(values_at(term, column) for term in terms), strict=True)
    return [
        TermPoint(value=None if value != value else value, a=a, b=b)
        for value, (a, b) in zip(values, pairs, strict=True)
    ]


def name_value(value: float | str | None) -> str:
    """Return a value of a term in words."""
    return explanation.format_value(np.nan if value is None else value)


def measure_gap(point: TermPoint) -> float:
    """Return the difference of a point, with 0 for an absent value."""
    return abs((point.b or 0.0) - (point.a or 0.0))


def compare_column(models: tuple[Model, Model], column: str) -> TermChange:
    """Compare the terms of a column in two models, where a model may lack the term."""
    first, second = (list_terms(model).get(column) for model in models)
    values: list[Any]
    if isinstance(first or second, NumericTerm) and not isinstance(second, CategoricalTerm):
        values = [*choose_numbers(models, column).tolist(), np.nan]
    else:
        known = [t.effects if isinstance(t, CategoricalTerm) else {} for t in (first, second)]
        values = sorted({*known[0], *known[1]})
        first, second = (t if isinstance(t, CategoricalTerm) else None for t in (first, second))
    points = make_points(values, (first, second))
    widest = max(points, key=measure_gap)
    kinds = [name_kind(list_terms(model).get(column)) for model in models]
    return TermChange(
        columns=[column], kind_a=kinds[0], kind_b=kinds[1], largest=measure_gap(widest),
        widest=name_value(widest.value), points=points,
    )  # fmt: skip


def axis_values(axes: Sequence[PairAxis], known: Iterable[str]) -> NDArray[Any]:
    """Return the values of a pair's axis for the comparison."""
    knots = sorted({knot for axis in axes for knot in axis.knots})
    if knots:
        return np.array([*knots, np.nan])
    return np.array(sorted(known), object)


def find_pair(model: Model, key: frozenset[str]) -> PairTerm | None:
    """Return the pair of two columns in a model, or None."""
    return next((pair for pair in model.pairs if frozenset(pair.columns) == key), None)


def compare_pair(models: tuple[Model, Model], key: frozenset[str]) -> TermChange:
    """Compare the interaction of two columns in two models, where a model may lack the pair."""
    pairs = [find_pair(model, key) for model in models]
    columns = sorted(key)
    categories = [logistic_model.known_categories(model) for model in models]
    known = {name: {v for one in categories for v in one.get(name, ())} for name in columns}
    sides = []
    for name in columns:
        axes = [
            axis for pair in pairs if pair for axis in (pair.first, pair.second)
            if axis.column == name
        ]  # fmt: skip
        sides.append(axis_values(axes, known[name]))
    grid = list(itertools.product(*(side.tolist() for side in sides)))
    table = {
        name: np.array([row[place] for row in grid], sides[place].dtype)
        for place, name in enumerate(columns)
    }
    effects = [explanation.find_term(model, table, tuple(columns)) for model in models]
    gaps = np.abs(effects[1] - effects[0])
    widest = int(np.argmax(gaps))
    place = " with ".join(
        f"{n} {name_value(v)}" for n, v in zip(columns, grid[widest], strict=True)
    )
    kinds: list[TermKind] = ["absent" if pair is None else "pair" for pair in pairs]
    return TermChange(
        columns=columns, kind_a=kinds[0], kind_b=kinds[1], largest=float(gaps[widest]), widest=place
    )


def compare_terms(a: Model, b: Model) -> tuple[list[TermChange], int]:
    """Compare the terms of two models.

    Parameters
    ----------
    a, b : Model
        Any two models.

    Returns
    -------
    list of TermChange and int
        The terms that differ, the largest difference first, and the number of equal ones. A term
        that only one model has differs.
    """
    models = (a, b)
    columns = list(dict.fromkeys([*list_terms(a), *list_terms(b)]))
    keys = {frozenset(pair.columns) for model in models for pair in model.pairs}
    found = [compare_column(models, column) for column in columns]
    found += [compare_pair(models, key) for key in sorted(keys, key=sorted)]
    changed = [term for term in found if term.largest >= SMALLEST or term.kind_a != term.kind_b]
    return sorted(changed, key=lambda term: -term.largest), len(found) - len(changed)


def merge_schemas(a: Schema, b: Schema) -> Schema:
    """Return the schema of rows for the comparison of two models.

    Raises
    ------
    DatasetError
        If the labels differ, or a column is a number for one model and a text for the other.
    """
    if (a.target, a.labels) != (b.target, b.labels):
        raise DatasetError(
            f"the models predict different labels: {a.target!r} with {a.labels} and {b.target!r}"
            f" with {b.labels}"
        )
    mixed = ({*a.numeric} & {*b.categorical}) | ({*a.categorical} & {*b.numeric})
    if mixed:
        raise DatasetError(f"one model reads {sorted(mixed)} as numbers, the other as texts")
    return msgspec.structs.replace(
        b,
        numeric=tuple(dict.fromkeys([*b.numeric, *a.numeric])),
        categorical=tuple(dict.fromkeys([*b.categorical, *a.categorical])),
    )


def compare_values(name: str, a: float | None, b: float | None) -> MetricChange:
    """Compare a metric without an interval."""
    difference = None if a is None or b is None else b - a
    return MetricChange(name=name, a=a, b=b, difference=difference)


def compare_paired(
    metric: str, y: Ints, probabilities: tuple[Floats, Floats], terms: MetricTerms
) -> MetricChange:
    """Compare a metric with the interval of the gate's paired bootstrap."""
    # The gate compares a candidate with production: here b with a.
    found = paired_metrics.compare(metric, y, (probabilities[1], probabilities[0]), terms)
    evidence = found.comparison
    return MetricChange(
        name=paired_metrics.NAMES[metric], a=found.production, b=found.candidate,
        difference=evidence.difference, low=evidence.difference_low, high=evidence.difference_high,
        probability_b_better=evidence.probability_better,
    )  # fmt: skip


def compare_metrics(
    a: Model, b: Model, table: Any, config: Config, listed_fraction: float
) -> list[MetricChange]:
    """Compare two models on the same labelled rows.

    Parameters
    ----------
    a, b : Model
        Models with the same labels.
    table : pandas.DataFrame of shape (n_rows, n_columns)
        With the columns of both models.
    config : Config
        With the capacity of the team.
    listed_fraction : float
        The share of the clients that the team can call.

    Returns
    -------
    list of MetricChange
        F1 first. The intervals are those of the gate, without a correction for reuse of the rows:
        nothing is decided here.

    Raises
    ------
    DatasetError
        If not both labels are among the rows.
    """
    y = dataset.target(table, b.schema)
    if not 0 < int(y.sum()) < len(y):
        raise DatasetError("the test rows of now have one label only")
    (first, p_first), (second, p_second) = (metrics.predict_table(m, table) for m in (a, b))
    both = metrics.compare(y, second, first)
    left, right = metrics.evaluate(y, first, p_first), metrics.evaluate(y, second, p_second)
    found = [
        MetricChange(
            name="F1", a=left.f1, b=right.f1,
            difference=None if left.f1 is None or right.f1 is None else both.difference,
            low=both.difference_low, high=both.difference_high,
            probability_b_better=both.probability_better,
        ),
        compare_paired("log_loss", y, (p_first, p_second), MetricTerms()),
    ]  # fmt: skip
    if config.worklist.capacity is not None:
        terms = MetricTerms(listed_fraction)
        found.append(compare_paired("recall_at_capacity", y, (p_first, p_second), terms))
    by_name: Mapping[str, str] = {
        "precision": "precision", "recall": "recall", "AUC": "roc_auc", "accuracy": "accuracy",
    }  # fmt: skip
    found += [
        compare_values(name, getattr(left, field), getattr(right, field))
        for name, field in by_name.items()
    ]
    calibration = [metrics.expected_calibration_error(y, p) for p in (p_first, p_second)]
    return [*found, compare_values("calibration error", *calibration)]
