"""Ranks clients by how likely they are to leave.

How likely a client is to leave, in a word.
"""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from scripts.core.config import ApiSettings, WorklistSettings
from scripts.model import logistic_model
from scripts.model.logistic_model import Columns, Floats, Model


@dataclass(frozen=True)
class Ranking:
    """What a model says of clients, in the order in which they were given.

    `order` gives their places from the first to call to the last: by probability, those with too
    many blanks after all others; equal ones keep the order given.
    """

    probability: Floats
    bands: list[str]
    contributions: Mapping[str, Floats]
    order: NDArray[np.int64]

    @property
    def positions(self) -> NDArray[np.int64]:
        """The rank of each client, from 1."""
        ranks = np.empty_like(self.order)
        ranks[self.order] = np.arange(1, len(self.order) + 1)
        return ranks

    @property
    def n_without_data(self) -> int:
        """How many clients have too many blanks."""
        return self.bands.count(NO_DATA)


def rank(used: Model, columns: Columns, api: ApiSettings, settings: WorklistSettings) -> Ranking:
    """Rank clients by how likely they are to leave.

    Parameters
    ----------
    used : Model
        The model in production.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The values, as `model.contributions` wants them.
    api : ApiSettings
        The limits of the bands.
    settings : WorklistSettings
        The share of blank features above which a client has no honest probability.

    Returns
    -------
    Ranking
        Of all rows.
    """
    terms = logistic_model.contributions(used, columns)
    probability = logistic_model.probabilities(used, columns)
    is_blank = blank_fractions(used, columns) > settings.max_blank_fraction
    found: Sequence[str] = find_bands(probability, api)
    named = [NO_DATA if blank else str(band) for blank, band in zip(is_blank, found, strict=True)]
    order = np.lexsort((-probability, is_blank))
    return Ranking(probability, named, terms, order.astype(np.int64))


class Band(StrEnum):
    """How likely a client is to leave, in a word; the limits are in the config."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


BANDS = tuple(Band)
BAND_ARRAY = np.array(BANDS, dtype=object)
# Too many blanks for the probability to be honest: it says more of other clients than of this one.
NO_DATA = "no data"


def find_places(probability: Floats, api: ApiSettings) -> NDArray[np.int64]:
    """Find the place among BANDS of each probability; a limit belongs to the band above it."""
    limits = (api.medium_risk_from, api.high_risk_from)
    return np.searchsorted(limits, probability, side="right")


def find_bands(probability: Floats, api: ApiSettings) -> list[Band]:
    """Say in which band each probability lies."""
    found: list[Band] = BAND_ARRAY[find_places(probability, api)].tolist()
    return found


def find_band(probability: float, api: ApiSettings) -> Band:
    """Say in which band one probability lies."""
    return BANDS[bisect.bisect_right((api.medium_risk_from, api.high_risk_from), probability)]


def blank_fractions(model: Model, columns: Columns) -> Floats:
    """Compute the share of blank features of each row, in [0, 1]."""
    blank = [np.isnan(np.asarray(columns[name], np.float64)) for name in model.schema.numeric]
    blank += [np.asarray(columns[name] == "", np.bool_) for name in model.schema.categorical]
    return np.asarray(np.mean(blank, axis=0), dtype=np.float64)
