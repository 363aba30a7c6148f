"""Ranks clients by how likely they are to leave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts import bands, model
from scripts.bands import NO_DATA
from scripts.config import ApiSettings, WorklistSettings
from scripts.model import Columns, Floats, Model


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
    terms = model.contributions(used, columns)
    probability = model.probabilities(used, columns)
    is_blank = bands.blank_fractions(used, columns) > settings.max_blank_fraction
    found: Sequence[str] = bands.find_bands(probability, api)
    named = [NO_DATA if blank else str(band) for blank, band in zip(is_blank, found, strict=True)]
    order = np.lexsort((-probability, is_blank))
    return Ranking(probability, named, terms, order.astype(np.int64))
