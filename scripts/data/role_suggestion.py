"""Suggestion of the role of each column: features, ignored columns, leaks."""

import re

import msgspec
import numpy as np
import pandas as pd
from msgspec import Struct
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from scripts.core import sentences
from scripts.core.config import NumberMarks, Schema
from scripts.data import number_suggestion, schema_inference
from scripts.data.column_kinds import ColumnKind
from scripts.data.number_suggestion import AMOUNT_NAME
from scripts.data.suggestion_reading import MAX_CATEGORIES
from scripts.data.time_suggestion import TimeLayout, to_numbers

ID_NAME = re.compile(
    r"(^|[^a-z])ids?$|[a-z]I[dD]$|phone|e-?mail|name$|^customer$|^account$|"
    r"(^|[^A-Za-z])(?i:no|nr|row|index|idx)\.?$|[a-z](No|Nr|Row|Index|Idx)\.?$|(?i:number|nummer)$"
)
# Columns by which people know a client. An address is left out: a list needs none.
PEOPLE_NAME = re.compile(
    r"(^|[^a-z])(company|firm|firma|organi[sz]ation|customer|client|account|holder|inhaber|kunde|"
    r"unternehmen|nom|nombre|nome|naam|soci[eé]t[eé]|raison sociale|empresa|azienda|ditta)$|name$",
    re.IGNORECASE,
)
NAME_KINDS = (ColumnKind.OTHER, ColumnKind.TEXTS)
# A column that alone predicts the target this well was written after the clients left.
LEAK_ACCURACY = 0.95
# Few honest columns reach this; the score of another model does, which may be a leak.
POSSIBLE_LEAK_ACCURACY = 0.9
MIN_ID_FRACTION = 0.5
# A customer may have some contracts.
MIN_NAMED_ID_FRACTION = 0.3
# A few repeated rows must not turn a numbering of clients into a feature.
MIN_NUMBERING_FRACTION = 0.99
# Texts of so many words are sentences, and no names.
MIN_SPACES = 3

Flags = NDArray[np.bool_]


def predict_alone(column: pd.Series, left: Flags, marks: NumberMarks | None) -> float:
    """Return the balanced accuracy of a prediction by a single column, for numbers the ROC AUC."""
    is_empty = (column == "").to_numpy()
    best = float(balanced_accuracy_score(left, is_empty)) if is_empty.any() else 0.5
    best = max(best, 1 - best)
    if marks is not None:
        area = float(roc_auc_score(left, to_numbers(column, marks).fillna(0.0)))
        return max(best, area, 1 - area)
    if column.nunique() > MAX_CATEGORIES:
        return best
    shares = pd.Series(left, index=column.index).groupby(column).transform("mean")
    return max(best, float(balanced_accuracy_score(left, shares > left.mean())))


def measure_columns(table: pd.DataFrame, schema: Schema, left: Flags) -> dict[str, float]:
    """Return the accuracy of a prediction by each feature alone."""
    marks = {name: schema.marks(name) for name in schema.numeric}
    return {name: predict_alone(table[name], left, marks.get(name)) for name in schema.features}


def is_id(column: pd.Series, name: str, inference: schema_inference.Inference) -> bool:
    """Return whether a column identifies clients, even if a few clients have several rows."""
    if inference.set_aside.get(name) == schema_inference.UNIQUE:
        return True
    n_values = column.nunique()
    if name in inference.set_aside or name in inference.schema.categorical:
        # A text that hardly repeats is a name, whatever its column is called.
        return n_values > MIN_ID_FRACTION * len(column)
    if name not in inference.schema.numeric or schema_inference.is_measure(
        column.unique(), inference.schema.marks(name)
    ):
        return False
    # A whole number may well be a measure.
    if ID_NAME.search(name):
        return n_values > MIN_NAMED_ID_FRACTION * len(column)
    return n_values > MIN_NUMBERING_FRACTION * len(column) and not AMOUNT_NAME.search(name)


class Roles(Struct):
    """The columns by role, each set aside with a reason."""

    numeric: list[str]
    categorical: list[str]
    aside: dict[str, str]
    is_listed: bool = False

    def set_aside(self, name: str, reason: str) -> None:
        """Remove a column from the features."""
        self.numeric = [other for other in self.numeric if other != name]
        self.categorical = [other for other in self.categorical if other != name]
        self.aside[name] = reason

    def make_code(self, name: str, n_values: int) -> None:
        """Make a category of a code with leading zeros, lost as a number."""
        self.set_aside(name, "it is a code with leading zeros and too many values for categories")
        if n_values <= MAX_CATEGORIES:
            del self.aside[name]
            self.categorical.append(name)
            self.is_listed = True


def reason_to_ignore(
    column: pd.Series, name: str, layout: TimeLayout, inference: schema_inference.Inference
) -> str:
    """Return the reason to ignore a column beyond the inference, or ""."""
    kind = layout.kinds[name]
    if name in layout.leaving:
        return "a date that only those who left have tells who left"
    if name in layout.day_numbers:
        return f"it looks like {layout.day_numbers[name]}; write dates, and they count as days"
    if kind and kind is not ColumnKind.TEXTS:
        return layout.unreadable.get(name, f"it holds {kind}")
    if kind and column.str.count(r"\s").mean() >= MIN_SPACES:
        return f"it holds {kind}"
    if is_id(column, name, inference):
        n_blank = int((column == "").sum())
        blank = f", but blank in {sentences.count(n_blank, 'row')}" if n_blank else ""
        return (
            f"it is likely an identifier{blank}; one key is enough, and a change in another column"
            " would make a second client"
        )
    signs = number_suggestion.find_signs(column)
    if len(signs) > 1:
        return f"its amounts are in several currencies, {' and '.join(signs)}; export them in one"
    return f"it holds {kind}" if kind else ""


def sort_columns(table: pd.DataFrame, declared: Schema, layout: TimeLayout) -> Roles:
    """Sort the columns of a table into features and columns set aside.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_clients, n_columns)
        A row per client, as text.
    declared : Schema
        With target, number marks, and the key as the only identifier.
    layout : TimeLayout
        Kinds of the columns, days and dates.

    Returns
    -------
    Roles
        Without the key, the target and the dates.
    """
    taken = {layout.key, layout.date, declared.target, *layout.dates}
    inference = schema_inference.infer_columns(table, declared)
    features = inference.schema
    roles = Roles(
        [name for name in features.numeric if name not in taken],
        [name for name in features.categorical if name not in taken],
        {name: why for name, why in inference.set_aside.items() if name and name not in taken},
    )
    for name in [name for name in table.columns if name and name not in taken]:
        reason = reason_to_ignore(table[name], name, layout, inference)
        if reason:
            roles.set_aside(name, reason)
        elif name in roles.numeric and number_suggestion.has_leading_zeros(table[name]):
            roles.make_code(name, n_values=table[name].nunique())
    return roles


def find_names(roles: Roles, layout: TimeLayout) -> list[str]:
    """Return the ignored columns with names for people, beside the key of dated rows."""
    if not layout.date:
        return []
    return [
        name
        for name in roles.aside
        if PEOPLE_NAME.search(name) and layout.kinds[name] in NAME_KINDS
    ]


def set_leaks_aside(table: pd.DataFrame, left: Flags, roles: Roles, declared: Schema) -> list[str]:
    """Ignore the columns with a leak of the label, and return notices about them."""
    schema = msgspec.structs.replace(
        declared, numeric=tuple(roles.numeric), categorical=tuple(roles.categorical)
    )
    if left.all() or not left.any():
        return []
    notices = []
    for name, accuracy in measure_columns(table, schema, left).items():
        if accuracy >= LEAK_ACCURACY:
            roles.set_aside(name, "")
            notices.append(
                f"Likely leak: {name!r} alone tells almost perfectly who left, and is ignored. Use"
                " the column if its values are known before a client leaves."
            )
        elif accuracy >= POSSIBLE_LEAK_ACCURACY:
            notices.append(
                f"Possible leak: {name!r} alone tells who left with {accuracy:.2f} of 1, as the"
                " score of another model would; it is kept. Add it to ignore unless it is known"
                " before a client leaves."
            )
    return notices
