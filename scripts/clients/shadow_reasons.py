"""The reasons for a client's different probabilities by two models."""

import numpy as np

from scripts.core.column_words import ColumnWords
from scripts.data.arrays import Floats
from scripts.model import explanation, logistic_model
from scripts.model.logistic_model import Columns, Model

N_REASONS = 3
# The change of what is the same for every client.
LEVEL = ("",)

ReasonKey = tuple[str, ...]


def find_effects(model: Model, columns: Columns, words: ColumnWords) -> dict[ReasonKey, Floats]:
    """Return the log-odds of each reason against the typical client, and the common level.

    Parameters
    ----------
    model : Model
        Any model.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The values, in the form of `logistic_model.contributions`.
    words : ColumnWords
        The groups of columns that are told as one reason.

    Returns
    -------
    dict of tuple of str to numpy.ndarray of shape (n_rows,)
        They add up to the log-odds of each row.
    """
    typical = explanation.typical_values(model)
    beside = explanation.effects_beside_baseline(model, columns, typical)
    log_odds = explanation.log_odds(model, logistic_model.terms(model, columns))
    return {
        LEVEL: log_odds - sum(beside.values(), start=np.zeros(len(log_odds))),
        **explanation.sum_by_reason(beside, words),
    }


def name_reason(key: ReasonKey, columns: Columns, row: int, words: ColumnWords) -> str:
    """Return a reason in words: a group, a column or a pair, with the values of the client."""
    group, *own = key
    if group or not own:
        return group or "every client"
    return " with ".join(
        f"{words.name(name)} {words.value(name, columns[name][row])}" for name in own
    )


def format_effect(effect: float | None) -> str:
    """Format what a model adds to the log-odds."""
    return "nothing" if effect is None else f"{effect:+.2f}"


def explain_moves(
    candidate: Model, production: Model, columns: Columns, words: ColumnWords
) -> list[list[str]]:
    """Return for each client why the candidate's risk differs from production's, as sentences.

    Parameters
    ----------
    candidate, production : Model
        The models.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The values of both models' columns, one row per client.
    words : ColumnWords
        Names, units and groups of columns.

    Returns
    -------
    list of list of str
        At most three for each client, the largest first: what moves the risk in the direction of
        the change, in log-odds beside a typical client who stays.
    """
    new, old = (find_effects(model, columns, words) for model in (candidate, production))
    keys = list(dict.fromkeys([*new, *old]))
    zero = np.zeros(len(new[LEVEL]))
    differences = np.column_stack([new.get(key, zero) - old.get(key, zero) for key in keys])
    sentences = []
    for row, difference in enumerate(differences):
        # What pushes against the move does not explain the move.
        pushes = difference * np.sign(difference.sum())
        strongest = np.argsort(-pushes, kind="stable")[:N_REASONS].tolist()
        sentences.append(
            [
                f"{name_reason(keys[place], columns, row, words)}:"
                f" {format_effect(float(new[keys[place]][row]) if keys[place] in new else None)},"
                f" in production"
                f" {format_effect(float(old[keys[place]][row]) if keys[place] in old else None)}"
                for place in strongest
                if pushes[place] >= explanation.SMALLEST_REASON
            ]
        )
    return sentences
