"""The ranking of clients by probability of exit, and the risk bands low, medium and high."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from msgspec import Struct

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
BAND_ARRAY = np.array(BANDS, dtype=object)
# With too many missing values the probability describes other clients more than this one.
NO_DATA = "no data"


class BandLimits(Struct, frozen=True, kw_only=True):
    """The probabilities at which the bands medium and high begin."""

    medium: float
    high: float

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The probabilities of each band: from the first number on, below the second."""
        starts = (-math.inf, self.medium, self.high, math.inf)
        return dict(zip(map(str, BANDS), itertools.pairwise(starts), strict=True))


def declared_limits(api: ApiSettings) -> BandLimits | None:
    """Return the limits of the config, or None where one of them depends on the model."""
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


def find_bands(probability: Floats, limits: BandLimits) -> list[Band]:
    """Find the band of each probability."""
    bands: list[Band] = BAND_ARRAY[find_places(probability, limits)].tolist()
    return bands


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


@dataclass(frozen=True)
class Ranking:
    """Probabilities, bands and contributions of clients, in the order of the rows.

    `order` holds the positions of the rows from the first to call to the last: by probability,
    clients with too many missing values at the end. Equal probabilities keep the order of rows.
    """

    probability: Floats
    bands: list[str]
    contributions: Mapping[str, Floats]
    order: Places

    @property
    def positions(self) -> Ints:
        """The rank of each client, from 1."""
        ranks = np.empty_like(self.order)
        ranks[self.order] = np.arange(1, len(self.order) + 1)
        return ranks

    @property
    def n_without_data(self) -> int:
        """The number of clients with too many missing values."""
        return self.bands.count(NO_DATA)


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
    terms = logistic_model.contributions(model, columns)
    probability = logistic_model.probabilities(model, columns)
    is_missing = missing_fractions(model, columns) > settings.max_blank_fraction
    by_probability: Sequence[str] = find_bands(probability, band_limits(model, api))
    bands = [
        NO_DATA if missing else str(band)
        for missing, band in zip(is_missing, by_probability, strict=True)
    ]
    order = np.lexsort((-probability, is_missing))
    return Ranking(probability, bands, terms, order.astype(np.int64))
