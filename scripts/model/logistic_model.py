"""The fitted model as plain numbers: probabilities, contributions, model.json."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
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

FORMAT = 3
# Format 1 had no indicators, scales and rare categories, format 2 neither curves nor pairs; the
# defaults of the terms fill them in.
READABLE_FORMATS = (1, 2, FORMAT)

# The curves and pairs whose arrays a process keeps, a few models of many columns.
MAX_PREPARED = 4096

Columns = Mapping[str, NDArray[Any]]
# The columns of a term: one, or the two of a pair.
TermKey = tuple[str, ...]


class NumericTerm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The term of a numeric column: coefficient (value - mean) / scale, or a curve.

    On a line a missing value counts as the median of the training rows, plus the missing
    coefficient. A curve has knots in rising order and its value at each knot: straight between
    two knots, constant outside of them. There the missing coefficient is the whole term of a
    missing value. `errors` are the standard errors of the values.
    """

    column: str
    median: float
    coefficient: float = 0.0
    missing_coefficient: float = 0.0
    mean: float = 0.0
    scale: float = 1.0
    knots: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()

    @property
    def slopes(self) -> tuple[float, ...]:
        """The slope of a curve behind each knot, 0 behind the last one."""
        return tuple(map(float, prepare_curve(self.knots, self.values)[2]))


class CategoricalTerm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The term of a categorical column: a coefficient per category, and for rare categories.

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


class PairAxis(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The levels of a column in a pair: knots and the missing value, or categories and the rest.

    Other categories known to the model share the last level. An unknown category has none.
    """

    column: str
    knots: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def n_levels(self) -> int:
        """The number of levels."""
        return len(self.knots) + len(self.categories) + 1


class PairTerm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The term of two columns together: a value per combination of levels.

    Between knots it is interpolated in both directions.
    """

    first: PairAxis
    second: PairAxis
    values: tuple[tuple[float, ...], ...]

    @property
    def columns(self) -> tuple[str, str]:
        """The two columns."""
        return self.first.column, self.second.column


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An additive logistic regression with preprocessing, threshold, schema and origin."""

    format: int
    schema: Schema
    numeric: tuple[NumericTerm, ...]
    categorical: tuple[CategoricalTerm, ...]
    intercept: float
    threshold: float
    dataset: DatasetFacts
    n_training_rows: int
    settings: dict[str, float | int | str | dict[str, str] | None]
    validation: dict[str, float | int | None]
    versions: dict[str, str]
    pairs: tuple[PairTerm, ...] = ()

    @property
    def is_straight(self) -> bool:
        """Whether no numeric column has a curve and no two columns act together."""
        return not self.pairs and all(len(term.knots) <= 2 for term in self.numeric)


@lru_cache(maxsize=MAX_PREPARED)
def prepare_curve(knots: tuple[float, ...], values: tuple[float, ...]) -> tuple[Floats, ...]:
    """Return knots, values and slopes of a curve as arrays."""
    pieces = zip(pairwise(knots), pairwise(values), strict=True)
    slopes = [*((v - u) / (b - a) for (a, b), (u, v) in pieces), 0.0]
    return np.array(knots), np.array(values), np.array(slopes)


@lru_cache(maxsize=MAX_PREPARED)
def prepare_axis(knots: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Return the knots of an axis, and the distances between them."""
    return np.array(knots), np.append(np.diff(knots), 1.0)


@lru_cache(maxsize=MAX_PREPARED)
def prepare_grid(values: tuple[tuple[float, ...], ...]) -> tuple[Floats, int]:
    """Return the values of a pair as a flat array in a frame of zeros, and the row length.

    The frame is behind the last level, which has no next one, and -1 leads there.
    """
    framed = [[*row, 0.0] for row in values]
    n = len(framed[0])
    return np.array([*framed, [0.0] * n]).ravel(), n


def locate(edges: Floats, numbers: Floats) -> tuple[Ints, Floats]:
    """Find the knot at or below each number, and the number between the outermost knots."""
    inside = np.minimum(np.maximum(numbers, edges[0]), edges[-1])
    # NaN is behind all others.
    return np.searchsorted(edges, inside, side="right") - 1, inside


def curve_effects(term: NumericTerm, numbers: Floats) -> Floats:
    """Compute the term of a curve."""
    knots, values, slopes = prepare_curve(term.knots, term.values)
    if len(knots) == 2:
        # A straight line needs no search for the piece: half of the time.
        inside = np.minimum(np.maximum(numbers, knots[0]), knots[1])
        on_line = values[0] + slopes[0] * (inside - knots[0])
        effects = np.where(inside < knots[1], on_line, values[1])
    else:
        lower, inside = locate(knots, numbers)
        effects = values.take(lower) + slopes.take(lower) * (inside - knots.take(lower))
    is_missing = np.isnan(numbers)
    if not is_missing.any():
        return np.asarray(effects)
    return np.where(is_missing, term.missing_coefficient, effects)


def numeric_effects(term: NumericTerm, values: NDArray[Any]) -> Floats:
    """Compute the term of a numeric column from floats, with NaN for a missing value."""
    numbers = np.asarray(values, dtype=np.float64)
    if term.knots:
        return curve_effects(term, numbers)
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


def level_places(axis: PairAxis, known: Iterable[str]) -> dict[str, int]:
    """Return the level of each known category on a categorical axis."""
    rest = dict.fromkeys(known, len(axis.categories))
    return rest | {category: place for place, category in enumerate(axis.categories)}


def find_levels(
    axis: PairAxis, known: Iterable[str], values: NDArray[Any]
) -> tuple[Ints, Floats | None]:
    """Find the level of each row, -1 if unknown, and the fraction of the way to the next level."""
    if not axis.knots:
        places = level_places(axis, known)
        found = (places.get(value, -1) for value in values)
        return np.fromiter(found, np.int64, len(values)), None
    numbers = np.asarray(values, dtype=np.float64)
    edges, widths = prepare_axis(axis.knots)
    lower, inside = locate(edges, numbers)
    fraction = (inside - edges.take(lower)) / widths.take(lower)
    is_missing = np.isnan(numbers)
    if is_missing.any():
        lower = np.where(is_missing, len(edges), lower)
        fraction = np.where(is_missing, 0.0, fraction)
    return lower, fraction


def pair_effects(pair: PairTerm, known: Mapping[str, Iterable[str]], columns: Columns) -> Floats:
    """Compute the term of a pair, 0 for an unknown category.

    Parameters
    ----------
    pair : PairTerm
        The pair.
    known : mapping of str to iterable of str
        The known categories of each categorical column.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        As for `contributions`.

    Returns
    -------
    numpy.ndarray of shape (n_rows,)
        In log-odds.
    """
    (i, u), (j, v) = (
        find_levels(axis, known.get(axis.column, ()), columns[axis.column])
        for axis in (pair.first, pair.second)
    )
    grid, n = prepare_grid(pair.values)
    # An unknown category is in the frame of zeros: -1 counts from the end, also in flat places.
    i, j = np.where(i < 0, pair.first.n_levels, i), np.where(j < 0, n - 1, j)
    place = i * n + j
    effects = grid.take(place)
    if v is not None:
        effects = effects + v * (grid.take(place + 1, mode="clip") - effects)
    if u is None:
        return np.asarray(effects)
    above = grid.take(place + n, mode="clip")
    if v is not None:
        above = above + v * (grid.take(place + n + 1, mode="clip") - above)
    return np.asarray(effects + u * (above - effects))


def known_categories(model: Model) -> dict[str, tuple[str, ...]]:
    """Return the known categories of each categorical column."""
    return {term.column: (*term.categories, *term.rare) for term in model.categorical}


def terms(model: Model, columns: Columns) -> dict[TermKey, Floats]:
    """Split the log-odds of each row into a term per column and per pair of columns.

    Parameters
    ----------
    model : Model
        Any model.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        As for `contributions`.

    Returns
    -------
    dict of tuple of str to numpy.ndarray of shape (n_rows,)
        Columns to terms, those of single columns first. The terms of a row and the intercept add
        up to its log-odds.
    """
    found: dict[TermKey, Floats] = {
        (term.column,): numeric_effects(term, columns[term.column]) for term in model.numeric
    }
    for term in model.categorical:
        found[(term.column,)] = category_effects(term, columns[term.column])
    if model.pairs:
        known = known_categories(model)
        found |= {pair.columns: pair_effects(pair, known, columns) for pair in model.pairs}
    return found


def contributions(model: Model, columns: Columns) -> dict[str, Floats]:
    """Split the log-odds of each row into a number per column, with half of each pair.

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
        Column name to its number; the numbers of a row and the intercept add up to its log-odds.
    """
    found = terms(model, columns)
    by_column = {key[0]: term for key, term in found.items() if len(key) == 1}
    for pair in model.pairs:
        for column in pair.columns:
            by_column[column] = by_column[column] + found[pair.columns] / 2
    return by_column


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
    log_odds = sum(terms(model, columns).values(), start=np.float64(model.intercept))
    return sigmoid(np.atleast_1d(np.asarray(log_odds, dtype=np.float64)))


def predictions(model: Model, probability: Floats) -> Ints:
    """Predict a label per probability: 1 (exit) from the threshold of the model on, else 0."""
    return (probability >= model.threshold).astype(np.int64)


def plain_numbers(model: Model) -> list[float]:
    """List the numbers of a model: intercept, threshold, and the numbers of the terms."""
    numeric = [
        number
        for t in model.numeric
        for number in (
            t.median, t.coefficient, t.missing_coefficient, t.mean, t.scale,
            *t.knots, *t.values, *t.errors,
        )
    ]  # fmt: skip
    paired = [
        number
        for pair in model.pairs
        for row in (pair.first.knots, pair.second.knots, *pair.values)
        for number in row
    ]
    categorical = [
        number for t in model.categorical for number in (*t.coefficients, t.rare_coefficient)
    ]
    return [model.intercept, model.threshold, *numeric, *categorical, *paired]


def largest_effect(term: NumericTerm) -> float:
    """Compute an upper bound for the absolute value of a numeric term."""
    if term.knots:
        return max(map(abs, (*term.values, term.missing_coefficient)))
    furthest = (max(LARGEST_NUMBER, abs(term.median)) + abs(term.mean)) / term.scale
    return abs(term.coefficient) * furthest + abs(term.missing_coefficient)


def are_rising(numbers: Sequence[float]) -> bool:
    """Return whether the numbers rise strictly."""
    return all(a < b for a, b in pairwise(numbers))


def check_curves(model: Model) -> None:
    """Raise ModelError for a curve or a pair without a value for each level."""
    has_curves = any(term.knots for term in model.numeric)
    for term in model.numeric:
        sizes = {len(term.knots), len(term.values), len(term.errors or term.knots)}
        if len(sizes) > 1 or not are_rising(term.knots) or bool(term.knots) != has_curves:
            raise ModelError(f"The model has a curve of {term.column} with wrong knots or values.")
    for pair in model.pairs:
        shape = pair.first.n_levels, pair.second.n_levels
        is_right = len(pair.values) == shape[0] and all(len(r) == shape[1] for r in pair.values)
        kinds = [
            axis.column in (model.schema.numeric if axis.knots else model.schema.categorical)
            for axis in (pair.first, pair.second)
        ]
        rising = are_rising(pair.first.knots) and are_rising(pair.second.knots)
        if not is_right or not all(kinds) or not rising or len(set(pair.columns)) == 1:
            names = " and ".join(pair.columns)
            raise ModelError(f"The model has a pair of {names} with wrong levels or values.")


def check_model(model: Model) -> None:
    """Raise for a model without right probabilities.

    Raises
    ------
    ModelError
        If the format is unknown, the terms do not fit the schema, or a number is not finite
        or so large that the probability of a row could be undefined.
    """
    if model.format not in READABLE_FORMATS:
        readable = ", ".join(map(str, READABLE_FORMATS))
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
    check_curves(model)
    if not all(math.isfinite(number) for number in plain_numbers(model)):
        raise ModelError("The model has a coefficient, median or threshold that is not finite.")
    if not 0 <= model.threshold <= 1:
        raise ModelError(f"The model has the threshold {model.threshold}; expected 0 to 1.")
    if any(term.scale <= 0 for term in model.numeric):
        raise ModelError("The model has a scale that is not positive.")
    # The largest log-odds of any allowed row must be finite, or inf - inf would be NaN.
    numeric = sum(map(largest_effect, model.numeric))
    categorical = sum(max(map(abs, t.effects.values()), default=0.0) for t in model.categorical)
    paired = sum(max(abs(v) for row in pair.values for v in row) for pair in model.pairs)
    if not math.isfinite(abs(model.intercept) + numeric + categorical + paired):
        raise ModelError("The model has coefficients so large that probabilities are undefined.")


def replace_hashes(model: Model, kept: Reference, hashes: bytes, *, is_sealed: bool) -> Model:
    """Return the model with new row hashes in the reference."""
    replace = msgspec.structs.replace
    reference = replace(kept, row_hashes=hashes, is_sealed=is_sealed)
    return replace(model, dataset=replace(model.dataset, reference=reference))


def seal(model: Model, key: bytes) -> Model:
    """Return the model with encrypted row hashes."""
    kept = model.dataset.reference
    if kept is None or kept.is_sealed:
        return model
    return replace_hashes(model, kept, keys.encrypt(key, kept.row_hashes), is_sealed=True)


def unseal(model: Model, key: bytes | None) -> Model:
    """Return the model with decrypted row hashes, or unchanged if the key does not fit."""
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
