"""The ranking of clients by probability of exit, and the risk bands low, medium and high."""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from scripts.core.config import ApiSettings, WorklistSettings
from scripts.data.arrays import Floats, Ints, Places
from scripts.model import logistic_model
from scripts.model.logistic_model import Columns, Model


class Band(StrEnum):
    """The risk of a client in a word, by the limits of the config."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


BANDS = tuple(Band)
BAND_ARRAY = np.array(BANDS, dtype=object)
# With too many missing values the probability describes other clients more than this one.
NO_DATA = "no data"


def find_places(probability: Floats, api: ApiSettings) -> Places:
    """Find the position in BANDS of each probability, with limits in the band above."""
    limits = (api.medium_risk_from, api.high_risk_from)
    return np.searchsorted(limits, probability, side="right")


def find_bands(probability: Floats, api: ApiSettings) -> list[Band]:
    """Find the band of each probability."""
    bands: list[Band] = BAND_ARRAY[find_places(probability, api)].tolist()
    return bands


def find_band(probability: float, api: ApiSettings) -> Band:
    """Find the band of a probability."""
    return BANDS[bisect.bisect_right((api.medium_risk_from, api.high_risk_from), probability)]


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
    by_probability: Sequence[str] = find_bands(probability, api)
    bands = [
        NO_DATA if missing else str(band)
        for missing, band in zip(is_missing, by_probability, strict=True)
    ]
    order = np.lexsort((-probability, is_missing))
    return Ranking(probability, bands, terms, order.astype(np.int64))
