"""The worth of today's clients, the expected gain of contacting each, and the best list."""

import logging
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict

from scripts.clients.todays_clients import TodaysClients, TodaysScores
from scripts.core.config import WorklistSettings
from scripts.core.errors import DatasetError
from scripts.data.arrays import Floats, Mask, Places, ShortInts
from scripts.model import gain, ranking, save_belief
from scripts.model.gain import GainTerms
from scripts.records.scored_clients import KEPT_NUMBER

log = logging.getLogger(__name__)


class ClientGains(Struct, frozen=True):
    """The worth and expected gain of clients, and the part of the gain that a call saves.

    `value` is NaN for a client without one, whose gain is that of the median value. The gain is the
    mean save rate times `saved` less the costs.
    """

    value: Floats
    gain: Floats
    saved: Floats
    assumed: Floats
    terms: GainTerms

    def select(self, rows: Places) -> "ClientGains":
        """Return some clients."""
        columns = (self.value, self.gain, self.saved, self.assumed)
        value, gained, saved, assumed = (column[rows] for column in columns)
        return ClientGains(value, gained, saved, assumed, self.terms)

    def at_risk(self, probability: Floats) -> "ClientGains":
        """Return the gains of the same clients at different probabilities."""
        saved, costs = gain.split_gains(probability, self.assumed, self.terms)
        gained = self.terms.save_rate * saved - costs
        return ClientGains(self.value, gained, saved, self.assumed, self.terms)


def find_values(today: TodaysClients, declared: str | float) -> Floats:
    """Return the worth of today's clients, NaN where the column has no number.

    Raises
    ------
    DatasetError
        If the input has no such numeric column.
    """
    if not isinstance(declared, str):
        return np.full(len(today), declared)
    if declared in today.schema.numeric:
        return np.asarray(today.table[declared], np.float64)
    ignored = today.kept.get(f"{KEPT_NUMBER}{declared}")
    if ignored is None:
        raise DatasetError(
            f"worklist.value names {declared!r}, and the numeric columns of the input are"
            f" {list(today.schema.numeric)}: today's clients are not scored until it names one, or"
            " another column of the files that has numbers."
        )
    return np.asarray(ignored, np.float64)


def find_gains(
    today: TodaysClients, scores: TodaysScores, settings: WorklistSettings, terms: GainTerms
) -> ClientGains | None:
    """Compute the expected gain of contacting each of today's clients, None without a value.

    Parameters
    ----------
    today : TodaysClients
        The clients.
    scores : TodaysScores
        Their probabilities.
    settings : WorklistSettings
        The worth of a client.
    terms : GainTerms
        The costs and the belief about the save rate.

    Raises
    ------
    DatasetError
        If the input has no such numeric column, or no client has a worth.
    """
    if settings.value is None or not len(today):
        return None
    value = find_values(today, settings.value)
    is_missing = np.isnan(value)
    if is_missing.all():
        raise DatasetError(
            f"worklist.value names {settings.value!r}, and none of today's {len(today)} clients has"
            " a number there: today's clients are not scored until one has."
        )
    assumed = np.where(is_missing, np.median(value[~is_missing]), value)
    if is_missing.any():
        log.warning(
            "%d of %d clients have no %s; the median of the others counts as their worth.",
            is_missing.sum(), len(today), settings.value,
        )  # fmt: skip
    saved, costs = gain.split_gains(scores.probability, assumed, terms)
    return ClientGains(value, terms.save_rate * saved - costs, saved, assumed, terms)


def order_by_gain(gains: ClientGains, is_ranked: Mask, places: Places | ShortInts) -> Places:
    """Order clients by falling gain, equal gains by risk, those without enough data at the end."""
    return np.lexsort((places, -gains.gain, ~is_ranked)).astype(np.int64)


def describe(
    gains: ClientGains, scores: TodaysScores, rows: Places, column: str | float | None
) -> dict[str, Any]:
    """Return the facts behind the gains of the clients to call, for the records.

    Parameters
    ----------
    gains : ClientGains
        Of all clients.
    scores : TodaysScores
        Of all clients.
    rows : numpy.ndarray of shape (n_kept,)
        The clients on the list who may be called.
    column : str, float or None
        The declared worth.
    """
    kept = rows[scores.band[rows] != ranking.WORDS.index(ranking.NO_DATA)]
    best = save_belief.find_best_length(scores.probability[kept], gains.assumed[kept], gains.terms)
    n_missing = int(np.isnan(gains.value[rows]).sum())
    save_low, save_high = save_belief.save_interval(gains.terms)
    return {
        "value": column,
        "assumed_value": float(np.nanmedian(gains.value)) if n_missing else None,
        "n_without_value": n_missing,
        **asdict(gains.terms),
        "save_rate": gains.terms.save_rate, "save_low": save_low, "save_high": save_high,
        "best": asdict(best),
    }  # fmt: skip
