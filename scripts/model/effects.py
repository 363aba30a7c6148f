"""The effects of a model's columns and pairs on the log-odds, the strongest first."""

import math
from collections.abc import Sequence

from msgspec import Struct

from scripts.data.cells import MISSING_CATEGORY
from scripts.model import explanation
from scripts.model.logistic_model import Model, NumericTerm, PairAxis, PairTerm

# Odds ratios are cut off at exp(700), which floats can still hold.
LARGEST_POWER = 700.0


class Effect(Struct, frozen=True):
    """The change of log-odds and odds by a step of a column, or of a pair of columns."""

    columns: tuple[str, ...]
    step: str
    log_odds: float

    @property
    def column(self) -> str:
        """The name of the column, or of the pair."""
        return " with ".join(self.columns)

    @property
    def odds_ratio(self) -> float:
        """The factor on the odds of leaving."""
        return math.exp(min(self.log_odds, LARGEST_POWER))


def curve_effects(term: NumericTerm) -> list[Effect]:
    """List the effects of a curve: highest instead of lowest point, and a missing value."""
    low, high = (term.values.index(extreme(term.values)) for extreme in (min, max))
    names = [explanation.format_value(term.knots[place]) for place in (high, low)]
    step = " instead of ".join(names)
    effects = [Effect((term.column,), step, term.values[high] - term.values[low])]
    if term.missing_coefficient:
        effects.append(Effect((term.column,), "blank instead of average", term.missing_coefficient))
    return effects


def numeric_effects(term: NumericTerm, deviation: float | None) -> list[Effect]:
    """List the effects of a numeric column: a step or a curve, and a missing value."""
    if term.knots:
        return curve_effects(term)
    per_unit = term.coefficient / term.scale
    effects = [Effect((term.column,), "1 more", per_unit)]
    if deviation:
        effects = [Effect((term.column,), f"{deviation:.4g} more (1 SD)", per_unit * deviation)]
    if term.missing_coefficient:
        effects.append(
            Effect((term.column,), "blank instead of the median", term.missing_coefficient)
        )
    return effects


def level_names(axis: PairAxis) -> list[str]:
    """Return the names of the levels of an axis."""
    if axis.knots:
        return [*map(explanation.format_value, axis.knots), "no entry"]
    return [*map(explanation.format_value, axis.categories), "other"]


def pair_effect(pair: PairTerm) -> Effect:
    """Return the effect of a pair: the difference of its highest and lowest combination."""
    first, second = level_names(pair.first), level_names(pair.second)
    cells = {
        f"{first[i]} with {second[j]}": value
        for i, row in enumerate(pair.values)
        for j, value in enumerate(row)
    }
    low, high = min(cells, key=cells.__getitem__), max(cells, key=cells.__getitem__)
    return Effect(pair.columns, f"{high} instead of {low}", cells[high] - cells[low])


def list_effects(model: Model) -> list[Effect]:
    """List the effects of the columns and pairs of a model, strongest first.

    Parameters
    ----------
    model : Model
        Any model.

    Returns
    -------
    list of Effect
        For a straight column a step of one standard deviation of the training data, for a curve
        or a pair its highest point beside its lowest, for a categorical column each known
        category, and the rare categories together.
    """
    deviations = {s.column: s.standard_deviation for s in model.dataset.summary}
    effects = [e for t in model.numeric for e in numeric_effects(t, deviations.get(t.column))]
    for term in model.categorical:
        for category, coefficient in zip(term.categories, term.coefficients, strict=True):
            name = "blank" if category == MISSING_CATEGORY else category
            effects.append(Effect((term.column,), name, coefficient))
        if term.rare:
            effects.append(
                Effect((term.column,), f"{len(term.rare)} rare categories", term.rare_coefficient)
            )
    effects += map(pair_effect, model.pairs)
    return sorted(effects, key=lambda effect: -abs(effect.log_odds))


def range_of(effects: Sequence[Effect], *, is_categorical: bool) -> Effect:
    """Return the strongest step of a column, of categories the highest instead of the lowest."""
    if not is_categorical or len(effects) == 1:
        return max(effects, key=lambda effect: abs(effect.log_odds))
    low, high = (extreme(effects, key=lambda effect: effect.log_odds) for extreme in (min, max))
    step = f"{high.step} instead of {low.step}"
    return Effect(high.columns, step, high.log_odds - low.log_odds)


def list_ranges(model: Model) -> list[Effect]:
    """List an effect for each column and pair of a model, the strongest first.

    Parameters
    ----------
    model : Model
        Any model.

    Returns
    -------
    list of Effect
        For a column of numbers and a pair the strongest effect of `list_effects`, for a categorical
        column the distance between the highest and the lowest category.
    """
    categorical = {(term.column,) for term in model.categorical}
    by_column: dict[tuple[str, ...], list[Effect]] = {}
    for effect in list_effects(model):
        by_column.setdefault(effect.columns, []).append(effect)
    ranges = [
        range_of(effects, is_categorical=columns in categorical)
        for columns, effects in by_column.items()
    ]
    return sorted(ranges, key=lambda effect: -abs(effect.log_odds))
