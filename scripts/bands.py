"""How likely a client is to leave, in a word."""

import bisect
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from scripts.config import ApiSettings
from scripts.model import Columns, Floats, Model


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
