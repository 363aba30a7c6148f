"""What each column of a model does to the odds, in steps that can be compared."""

import math
from dataclasses import dataclass

from scripts.model import MISSING_CATEGORY, Model, NumericTerm

# Odds beyond this are shown as endless, which they are for people.
LARGEST_POWER = 700.0


@dataclass(frozen=True)
class Effect:
    """A step of one column, what it adds to the log-odds, and what it multiplies the odds by."""

    column: str
    step: str
    log_odds: float

    @property
    def odds_ratio(self) -> float:
        """What the odds of leaving are multiplied by."""
        return math.exp(min(self.log_odds, LARGEST_POWER))


def numeric_effects(term: NumericTerm, deviation: float | None) -> list[Effect]:
    """List the effects of a numeric column: of a standard deviation more, and of a blank."""
    per_unit = term.coefficient / term.scale
    found = [Effect(term.column, "1 more", per_unit)]
    if deviation:
        found = [Effect(term.column, f"{deviation:.4g} more (1 SD)", per_unit * deviation)]
    if term.missing_coefficient:
        found.append(Effect(term.column, "blank instead of the median", term.missing_coefficient))
    return found


def list_effects(used: Model) -> list[Effect]:
    """List the effects of all columns, the strongest first.

    Parameters
    ----------
    used : Model
        Any model.

    Returns
    -------
    list of Effect
        Of a numeric column a step of one standard deviation of the training data, of a
        categorical one each category that is known, and all rare ones together.
    """
    deviations = {s.column: s.standard_deviation for s in used.dataset.summary}
    found = [e for t in used.numeric for e in numeric_effects(t, deviations.get(t.column))]
    for term in used.categorical:
        for category, coefficient in zip(term.categories, term.coefficients, strict=True):
            name = "blank" if category == MISSING_CATEGORY else category
            found.append(Effect(term.column, name, coefficient))
        if term.rare:
            found.append(
                Effect(term.column, f"{len(term.rare)} rare categories", term.rare_coefficient)
            )
    return sorted(found, key=lambda effect: -abs(effect.log_odds))
