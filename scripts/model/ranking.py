"""The ranking of clients by probability of exit, and the risk bands low, medium and high."""

import itertools
import math
from enum import StrEnum
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from scripts.core.config import ApiSettings, WorklistSettings
from scripts.data.arrays import Floats, Ints, Places
from scripts.model import logistic_model
from scripts.model.logistic_model import Columns, Model


class Band(StrEnum):
    """The risk of a client in a word, by the limits of the bands."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


BANDS = tuple(Band)
# With too many missing values the probability describes other clients more than this one.
NO_DATA = "no data"
# The words of all bands.
WORDS = (*map(str, BANDS), NO_DATA)


class BandLimits(Struct, frozen=True, kw_only=True):
    """The lowest probabilities of the bands medium and high."""

    medium: float
    high: float

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The probabilities of each band: from the first number on, below the second."""
        starts = (-math.inf, self.medium, self.high, math.inf)
        return dict(zip(map(str, BANDS), itertools.pairwise(starts), strict=True))


def declared_limits(api: ApiSettings) -> BandLimits | None:
    """Return the limits of the config, or None if a limit depends on the model."""
    medium, high = api.medium_risk_from, api.high_risk_from
    if isinstance(medium, str) or isinstance(high, str):
        return None
    return BandLimits(medium=medium, high=high)


def band_limits(model: Model, api: ApiSettings) -> BandLimits:
    """Return the limits of the bands for the probabilities of a model.

    Parameters
    ----------
    model : Model
        The model behind the probabilities.
    api : ApiSettings
        A number is a limit as it stands.

    Returns
    -------
    BandLimits
        With "auto", high begins at the decision threshold, so that the band is high exactly where
        the prediction is an exit. Medium begins at the share of leavers in the training data, or at
        the limit of high where that is lower.
    """
    medium, high = api.medium_risk_from, api.high_risk_from
    if isinstance(high, str):
        high = model.threshold
    if isinstance(medium, str):
        medium = model.dataset.n_positives / max(1, model.dataset.n_rows)
    return BandLimits(medium=min(medium, high), high=high)


def find_places(probability: Floats, limits: BandLimits) -> Places:
    """Find the position in BANDS of each probability, with limits in the band above."""
    return np.searchsorted((limits.medium, limits.high), probability, side="right")


def find_band(probability: float, limits: BandLimits) -> Band:
    """Find the band of a probability."""
    if probability >= limits.high:
        return Band.HIGH
    return Band.MEDIUM if probability >= limits.medium else Band.LOW


def band_now(recorded: str, probability: float, limits: BandLimits | None) -> str:
    """Return the band of a recorded score by the limits of today, or as recorded without limits."""
    if recorded == NO_DATA or limits is None:
        return recorded
    return str(find_band(probability, limits))


def missing_fractions(model: Model, columns: Columns) -> Floats:
    """Compute the share of missing features of each row, in [0, 1]."""
    missing = [np.isnan(np.asarray(columns[name], np.float64)) for name in model.schema.numeric]
    missing += [np.asarray(columns[name] == "", np.bool_) for name in model.schema.categorical]
    return np.asarray(np.mean(missing, axis=0), dtype=np.float64)


class Ranking(Struct, frozen=True):
    """Probabilities and bands of clients, in the order of the rows.

    `places` are the positions of the bands in WORDS. `order` holds the positions of the rows from
    the first to call to the last: by probability, clients with too many missing values at the end.
    Equal probabilities keep the order of rows.
    """

    probability: Floats
    places: Places
    order: Places

    @property
    def bands(self) -> list[str]:
        """The band of each client."""
        return [WORDS[place] for place in self.places.tolist()]

    @property
    def positions(self) -> Ints:
        """The rank of each client, from 1."""
        ranks = np.empty_like(self.order)
        ranks[self.order] = np.arange(1, len(self.order) + 1)
        return ranks


def order_by_risk(probability: Floats, places: NDArray[np.integer[Any]]) -> Places:
    """Order clients by falling probability, those with too many missing values at the end."""
    order = np.lexsort((-probability, places == WORDS.index(NO_DATA)))
    return order.astype(np.int64, copy=False)


def score(
    model: Model, columns: Columns, api: ApiSettings, settings: WorklistSettings
) -> tuple[Floats, Places]:
    """Compute the probability of exit of clients, and the positions of their bands in WORDS.

    Parameters
    ----------
    model : Model
        The model in production.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The values, in the form of `logistic_model.contributions`.
    api : ApiSettings
        The limits of the bands.
    settings : WorklistSettings
        The share of missing features above which a client gets no band.
    """
    probability = logistic_model.probabilities(model, columns)
    is_missing = missing_fractions(model, columns) > settings.max_blank_fraction
    by_probability = find_places(probability, band_limits(model, api))
    return probability, np.where(is_missing, WORDS.index(NO_DATA), by_probability)


def rank(model: Model, columns: Columns, api: ApiSettings, settings: WorklistSettings) -> Ranking:
    """Rank clients by their probability of exit.

    Parameters
    ----------
    model : Model
        The model in production.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The values, in the form of `logistic_model.contributions`.
    api : ApiSettings
        The limits of the bands.
    settings : WorklistSettings
        The share of missing features above which a client gets no band.

    Returns
    -------
    Ranking
        Of all rows.
    """
    probability, places = score(model, columns, api, settings)
    return Ranking(probability, places, order_by_risk(probability, places))
