"""The fitted logistic regression as plain numbers: probabilities, contributions, model.json."""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from scripts.core import keys
from scripts.core.config import Schema
from scripts.core.config_file import check_schema
from scripts.core.errors import ConfigError, ModelError
from scripts.data import client_dates
from scripts.data.arrays import Floats, Ints
from scripts.data.cells import LARGEST_NUMBER
from scripts.data.profile import DatasetFacts, Reference

FORMAT = 2
# Format 1 had no indicators, scales and rare categories; the defaults of the terms fill them in.
READABLE_FORMATS = (1, FORMAT)

Columns = Mapping[str, NDArray[Any]]


class NumericTerm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The term of a numeric column: coefficient (value - mean) / scale.

    A missing value counts as the median of the training rows, plus the missing coefficient.
    """

    column: str
    median: float
    coefficient: float
    missing_coefficient: float = 0.0
    mean: float = 0.0
    scale: float = 1.0


class CategoricalTerm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The term of a categorical column: a coefficient per category, a common one for rare ones.

    An unknown category adds nothing.
    """

    column: str
    categories: tuple[str, ...]
    coefficients: tuple[float, ...]
    rare: tuple[str, ...] = ()
    rare_coefficient: float = 0.0

    @property
    def effects(self) -> dict[str, float]:
        """The coefficient of each known category."""
        frequent = zip(self.categories, self.coefficients, strict=True)
        return dict(frequent) | dict.fromkeys(self.rare, self.rare_coefficient)

    @property
    def known(self) -> list[str]:
        """The categories of the training rows in alphabetical order, "" for a missing value."""
        return sorted((*self.categories, *self.rare))


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A logistic regression with its preprocessing, threshold, schema and origin."""

    format: int
    schema: Schema
    numeric: tuple[NumericTerm, ...]
    categorical: tuple[CategoricalTerm, ...]
    intercept: float
    threshold: float
    dataset: DatasetFacts
    n_training_rows: int
    settings: dict[str, float | int | str | None]
    validation: dict[str, float | int | None]
    versions: dict[str, str]


def numeric_effects(term: NumericTerm, values: NDArray[Any]) -> Floats:
    """Compute the term of a numeric column from floats, with NaN for a missing value."""
    numbers = np.asarray(values, dtype=np.float64)
    is_missing = np.isnan(numbers)
    if not is_missing.any():
        # The usual case, at half of the work.
        return np.asarray(term.coefficient * ((numbers - term.mean) / term.scale))
    filled = np.where(is_missing, term.median, numbers)
    effects = term.coefficient * ((filled - term.mean) / term.scale)
    return np.where(is_missing, effects + term.missing_coefficient, effects)


def category_effects(term: CategoricalTerm, values: NDArray[Any]) -> Floats:
    """Look up the coefficient of each category, 0 for an unknown category."""
    effects = term.effects
    return np.array([effects.get(value, 0.0) for value in values], dtype=np.float64)


def contributions(model: Model, columns: Columns) -> dict[str, Floats]:
    """Split the log-odds of each row into one term per column.

    Parameters
    ----------
    model : Model
        Any model.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The features by name: numeric ones as floats with NaN for a missing value, categorical
        ones as text with "" for a missing value.

    Returns
    -------
    dict of str to numpy.ndarray of shape (n_rows,)
        Column name to its term; the terms of a row and the intercept add up to its log-odds.
    """
    terms = {t.column: numeric_effects(t, columns[t.column]) for t in model.numeric}
    return terms | {t.column: category_effects(t, columns[t.column]) for t in model.categorical}


def count_unknown_categories(term: CategoricalTerm, values: list[str]) -> dict[str, int]:
    """Count the rows of each category unknown to the term, in the order of appearance."""
    new = set(values).difference(term.categories, term.rare)
    return dict(Counter(value for value in values if value in new)) if new else {}


def count_unknown(model: Model, columns: Columns) -> dict[str, int]:
    """Count the rows with an unknown category, by categorical column."""
    return {
        term.column: sum(count_unknown_categories(term, columns[term.column].tolist()).values())
        for term in model.categorical
    }


def sigmoid(log_odds: Floats) -> Floats:
    """Compute probabilities from log-odds, without overflow at either end."""
    small = np.exp(-np.abs(log_odds))
    return np.where(log_odds >= 0, 1 / (1 + small), small / (1 + small))


def probabilities(model: Model, columns: Columns) -> Floats:
    """Compute the probability of exit of each row.

    Parameters
    ----------
    model : Model
        Any model.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        As for `contributions`.

    Returns
    -------
    numpy.ndarray of shape (n_rows,)
        Probabilities in [0, 1], equal to scikit-learn's to 1e-12.

    Notes
    -----
    scikit-learn user guide, "Logistic regression": the inverse logit of the linear predictor.
    """
    log_odds = sum(contributions(model, columns).values(), start=np.float64(model.intercept))
    return sigmoid(np.atleast_1d(np.asarray(log_odds, dtype=np.float64)))


def predictions(model: Model, probability: Floats) -> Ints:
    """Predict a label per probability: 1 (exit) from the threshold of the model on, else 0."""
    return (probability >= model.threshold).astype(np.int64)


def plain_numbers(model: Model) -> list[float]:
    """List the numbers of a model: intercept, threshold, and those of the terms."""
    numeric = [
        number
        for t in model.numeric
        for number in (t.median, t.coefficient, t.missing_coefficient, t.mean, t.scale)
    ]
    categorical = [
        number for t in model.categorical for number in (*t.coefficients, t.rare_coefficient)
    ]
    return [model.intercept, model.threshold, *numeric, *categorical]


def largest_effect(term: NumericTerm) -> float:
    """Compute an upper bound for the absolute value of a numeric term."""
    furthest = (max(LARGEST_NUMBER, abs(term.median)) + abs(term.mean)) / term.scale
    return abs(term.coefficient) * furthest + abs(term.missing_coefficient)


def check_model(model: Model) -> None:
    """Raise for a model with which no right probability can be computed.

    Raises
    ------
    ModelError
        If the format is unknown, the terms do not fit the schema, or a number is not finite
        or so large that the probability of a row could be undefined.
    """
    if model.format not in READABLE_FORMATS:
        readable = " and ".join(map(str, READABLE_FORMATS))
        raise ModelError(f"The model has format {model.format}; this version reads {readable}.")
    try:
        check_schema(client_dates.reading_schema(model.schema), "The model")
    except ConfigError as error:
        raise ModelError(str(error)) from error
    covered = [[t.column for t in terms] for terms in (model.numeric, model.categorical)]
    if covered != [list(model.schema.numeric), list(model.schema.categorical)]:
        raise ModelError(f"The model has terms for {covered}, its schema {model.schema.features}.")
    if any(len(t.categories) != len(t.coefficients) for t in model.categorical):
        raise ModelError("The model has a category without a coefficient.")
    if not all(math.isfinite(number) for number in plain_numbers(model)):
        raise ModelError("The model has a coefficient, median or threshold that is not finite.")
    if not 0 <= model.threshold <= 1:
        raise ModelError(f"The model has the threshold {model.threshold}; expected 0 to 1.")
    if any(term.scale <= 0 for term in model.numeric):
        raise ModelError("The model has a scale that is not positive.")
    # The largest log-odds of any allowed row must be finite, or inf - inf would be NaN.
    numeric = sum(map(largest_effect, model.numeric))
    categorical = sum(max(map(abs, t.effects.values()), default=0.0) for t in model.categorical)
    if not math.isfinite(abs(model.intercept) + numeric + categorical):
        raise ModelError("The model has coefficients so large that probabilities are undefined.")


def replace_hashes(model: Model, kept: Reference, hashes: bytes, *, is_sealed: bool) -> Model:
    """Return the model with new row hashes in its reference."""
    replace = msgspec.structs.replace
    reference = replace(kept, row_hashes=hashes, is_sealed=is_sealed)
    return replace(model, dataset=replace(model.dataset, reference=reference))


def seal(model: Model, key: bytes) -> Model:
    """Return the model with its row hashes encrypted by the key."""
    kept = model.dataset.reference
    if kept is None or kept.is_sealed:
        return model
    return replace_hashes(model, kept, keys.encrypt(key, kept.row_hashes), is_sealed=True)


def unseal(model: Model, key: bytes | None) -> Model:
    """Return the model with its row hashes decrypted, or unchanged if the key does not fit."""
    kept = model.dataset.reference
    if key is None or kept is None or not kept.is_sealed:
        return model
    opened = keys.decrypt(key, kept.row_hashes)
    return model if opened is None else replace_hashes(model, kept, opened, is_sealed=False)


def encode_model(model: Model) -> bytes:
    """Encode a model as JSON, a key per line and equal bytes for equal models."""
    return msgspec.json.format(msgspec.json.encode(model, order="sorted"), indent=2) + b"\n"


def decode_model(content: bytes, origin: Path) -> Model:
    """Decode and check the bytes of a model.json.

    Parameters
    ----------
    content : bytes
        The content of the file.
    origin : Path
        The path of the file, for messages.

    Returns
    -------
    Model
        A model that passed `check_model`.

    Raises
    ------
    ModelError
        If the bytes are not a model, or `check_model` raises.
    """
    try:
        model = msgspec.json.decode(content, type=Model)
        check_model(model)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ModelError(f"{origin} is not a model: {error}.") from error
    except ModelError as error:
        raise ModelError(f"{origin}: {error}") from error
    return model


def load_model(path: Path) -> Model:
    """Read and check a model.json."""
    try:
        return decode_model(path.read_bytes(), path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
