"""Guesses of the target of a client table, with the labels of leaving and staying clients."""

import pandas as pd

from scripts.core import sentences
from scripts.core.config import KNOWN_OPPOSITES, OPPOSITES, normalise_label
from scripts.core.errors import DatasetError
from scripts.data import leaving_words
from scripts.data.cells import shorten

# A status has a few labels: stayed, joined, churned. More of them are a reason or a segment.
MAX_STATUS_LABELS = 5
STATUS_LABELS = range(2, MAX_STATUS_LABELS + 1)
MAX_SHOWN_LABELS = 6
YES = leaving_words.YES | set(OPPOSITES)
NO = leaving_words.NO | (set(KNOWN_OPPOSITES) - set(OPPOSITES))
KNOWN_ANSWERS = YES | NO


def labels_of(column: pd.Series) -> list[str]:
    """List the labels of a column in normal form."""
    return sorted({normalise_label(text) for text in column.unique()} - {""})


def is_status(name: str, labels: list[str]) -> bool:
    """Return whether a column is a status: three to five labels, with a label of leaving."""
    if not 2 < len(labels) <= MAX_STATUS_LABELS or leaving_words.is_reason_name(name):
        return False
    known = {label for label in labels if KNOWN_OPPOSITES.get(label) in labels}
    return any(map(leaving_words.means_left, labels)) or (
        leaving_words.is_target_name(name) and bool(known)
    )


def guess_target(table: pd.DataFrame) -> str:
    """Guess the target by name, labels and position: a column of two labels, or a status."""
    labels = {name: labels_of(table[name]) for name in table.columns if name}
    possible = [name for name, known in labels.items() if len(known) == 2 or is_status(name, known)]
    if not possible:
        raise DatasetError(
            "No column has two values, as a target must; name it with --target. If files of their"
            " own say who left, the day of each extract must be known: put it into the name, such"
            " as clients_2026-03-31.csv, or into a column."
        )

    def rank(name: str) -> tuple[bool, bool, bool, bool, bool, int]:
        """Return the sort key of a column, the best target being the largest."""
        is_named = leaving_words.is_target_name(name)
        is_known = bool(set(labels[name]) & KNOWN_ANSWERS)
        return (
            is_named,
            is_named and len(labels[name]) == 2,
            any(map(leaving_words.means_left, labels[name])),
            is_known and leaving_words.means_stayed(name),
            is_known,
            list(table.columns).index(name),
        )

    return max(possible, key=rank)


def guess_positive(column: pd.Series, name: str) -> str:
    """Guess the positive label of a target.

    Parameters
    ----------
    column : pandas.Series of shape (n_rows,)
        The target, as text.
    name : str
        The name of the target.

    Returns
    -------
    str
        A label like "churned"; else the known word for yes, or for no where the name means staying,
        like `retained`; else a label that does not mean staying; else the rarer label.
    """
    counts = column.map(normalise_label).value_counts()
    yes = NO if leaving_words.means_stayed(name) else YES

    def rank(label: str) -> tuple[bool, bool, bool, int]:
        """Return the sort key of a label, the likeliest one being the largest."""
        return (
            leaving_words.means_left(label), label in yes, not leaving_words.means_stayed(label),
            -counts[label],
        )  # fmt: skip

    return str(max(labels_of(column), key=rank))


def guess_negative(column: pd.Series, positive: str) -> str:
    """Guess the negative label: the opposite, a word of staying, or the most frequent label."""
    counts = column.map(normalise_label).value_counts()
    opposite = KNOWN_OPPOSITES.get(positive)

    def rank(label: str) -> tuple[bool, bool, int]:
        """Return the sort key of a label, the likeliest one being the largest."""
        return label == opposite, leaving_words.means_stayed(label), counts[label]

    return str(max((label for label in labels_of(column) if label != positive), key=rank))


def is_likely(column: pd.Series, name: str) -> bool:
    """Return whether the name or a label of a column speaks of leaving."""
    return leaving_words.is_target_name(name) or any(
        map(leaving_words.means_left, labels_of(column))
    )


def describe_doubt(table: pd.DataFrame, name: str) -> list[str]:
    """Return sentences about a guess by nothing but the number of values."""
    if is_likely(table[name], name) or leaving_words.means_stayed(name):
        return []
    named = [other for other in table.columns if other and leaving_words.is_target_name(other)]
    others = [
        f"{other!r} speaks of leaving, and has {len(labels_of(table[other]))} different values: a"
        " target has two. Write one of two labels in it, and try again."
        for other in named[:1]
    ]
    return [
        f"Nothing in the name or the values of {name!r} speaks of leaving: this target is a mere"
        " guess. Name the column that says who left with --target. If no column does, put files of"
        " those who left into a folder beside this one, and the day of each extract into its name,"
        " such as clients_2026-03-31.csv.",
        *others,
    ]


def describe_target(column: pd.Series, name: str) -> tuple[dict[str, str], list[str]]:
    """Guess the labels of a target and return their config keys with a description.

    Parameters
    ----------
    column : pandas.Series of shape (n_rows,)
        The target, as text.
    name : str
        The name of the target.

    Returns
    -------
    tuple of dict of str to str and list of str
        `positive`, and `negative` where the two labels are not known as opposites; the sentences.

    Raises
    ------
    DatasetError
        If the target has fewer than two labels.
    """
    labels = labels_of(column)
    if len(labels) < 2:
        raise DatasetError(
            f"The target {name!r} has {len(labels)} labels; expected those of clients who left and"
            " of clients who stayed. Name another column with --target."
        )
    positive, texts = guess_positive(column, name), column.unique().tolist()
    keys = {"positive": next(text for text in texts if normalise_label(text) == positive)}
    negative = guess_negative(column, positive)
    if KNOWN_OPPOSITES.get(positive) != negative:
        keys["negative"] = negative
    shown = ", ".join(map(shorten, texts[:MAX_SHOWN_LABELS]))
    staying = f" {name!r} speaks of staying, so" if leaving_words.means_stayed(name) else ""
    notices = [
        f"Likely target: {name!r} with the labels {shown};{staying} {positive!r} is taken for the"
        " label of clients who left."
    ]
    others = [label for label in labels if label not in (positive, negative)]
    if others:
        n_rows = int(column.map(normalise_label).isin(others).sum())
        notices.append(
            f"A target has two labels: {negative!r} is taken for clients who stayed, and the"
            f" {sentences.count(n_rows, 'row')} with"
            f" {', '.join(map(shorten, others[:MAX_SHOWN_LABELS]))} will be rejected. Write one of"
            " the two labels in their place, or nothing where the outcome is not known yet."
        )
    return keys, notices
