"""The expected gain of contacting clients, and the profit of a list."""

import numpy as np
from msgspec import Struct

from scripts.core.config import CostSettings
from scripts.data.arrays import Floats, Ints


class GainTerms(Struct, frozen=True):
    """Costs of a contact and of an offer, the belief about the save rate, and who takes an offer.

    The save rate, the share of leavers who can be kept, has the distribution Beta(`alpha`, `beta`).
    `takers_fraction` is the share of stayers who take the offer.
    """

    contact: float
    offer: float
    alpha: float
    beta: float
    takers_fraction: float

    @property
    def save_rate(self) -> float:
        """The mean of the save rate."""
        return self.alpha / (self.alpha + self.beta)


def as_terms(costs: CostSettings) -> GainTerms:
    """Return the costs of config.json with the believed save rate."""
    return GainTerms(costs.contact, costs.offer, *costs.save_rate, costs.takers_fraction)


def split_gains(probability: Floats, value: Floats, terms: GainTerms) -> tuple[Floats, Floats]:
    """Split the gain of contacting clients into a slope and a cost.

    Parameters
    ----------
    probability : numpy.ndarray of shape (n_clients,)
        The probability of leaving, or the label: 1 left, 0 stayed.
    value : numpy.ndarray of shape (n_clients,)
        The worth of each client.
    terms : GainTerms
        The costs.

    Returns
    -------
    tuple of two numpy.ndarray of shape (n_clients,)
        The gain is the save rate times the first less the second.
    """
    saved = probability * (value - terms.offer)
    costs = (1 - probability) * terms.takers_fraction * terms.offer + terms.contact
    return saved, costs


def expected_gains(probability: Floats, value: Floats, terms: GainTerms) -> Floats:
    """Compute the expected gain of contacting each client.

    Parameters
    ----------
    probability : numpy.ndarray of shape (n_clients,)
        The probability of leaving, or the label: 1 left, 0 stayed.
    value : numpy.ndarray of shape (n_clients,)
        The worth of each client.
    terms : GainTerms
        The costs and the belief about the save rate.

    Returns
    -------
    numpy.ndarray of shape (n_clients,)
        The gain p * g * (V - d) - (1 - p) * s * d - f: probability p, mean save rate g, value
        V, costs d of an offer and f of a contact, and the share s of stayers who take the
        offer. Leavers who are not kept take no offer.

    Notes
    -----
    Verbraken, Verbeke and Baesens (2013), "A novel profit maximizing metric for measuring
    classification performance of customer churn prediction models", IEEE Transactions on Knowledge
    and Data Engineering 25 (5), equation 6, where s is 1. A value for each client: Oskarsdottir,
    Baesens and Vanthienen (2018), "Profit-based model selection for customer retention using
    individual customer lifetime values", Big Data 6 (1).
    """
    saved, costs = split_gains(probability, value, terms)
    return np.asarray(terms.save_rate * saved - costs, np.float64)


class ProfitCurve(Struct, frozen=True):
    """The profit of lists by length: the save rate times `saved` less `costs`.

    Only lengths that a threshold of the score can make are there, from 0 to all clients.
    """

    lengths: Ints
    saved: Floats
    costs: Floats

    def profit(self, save_rate: float) -> Floats:
        """Return the profit of each list for a save rate."""
        return np.asarray(save_rate * self.saved - self.costs, np.float64)

    def best(self, save_rate: float) -> int:
        """Return the place of the list with the highest profit, the shortest of equal lists."""
        return int(np.argmax(self.profit(save_rate)))


def cumulate(score: Floats, saved: Floats, costs: Floats) -> ProfitCurve:
    """Return the profit of the lists with the highest scores, equal scores together."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ends = np.concatenate([[0], np.flatnonzero(np.diff(ranked, append=-np.inf)) + 1])
    sums = [np.concatenate([[0.0], np.cumsum(part[order])])[ends] for part in (saved, costs)]
    return ProfitCurve(ends.astype(np.int64), *sums)


def profit_curve(y: Ints, score: Floats, value: Floats, terms: GainTerms) -> ProfitCurve:
    """Return the profit of lists of labelled clients, by length.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        1 left, 0 stayed.
    score : numpy.ndarray of shape (n_rows,)
        The order of the list, the highest first: a probability or an expected gain.
    value : numpy.ndarray of shape (n_rows,)
        The worth of each client.
    terms : GainTerms
        The costs and the belief about the save rate.
    """
    return cumulate(score, *split_gains(y.astype(np.float64), value, terms))


def maximum_profit(y: Ints, score: Floats, value: Floats, terms: GainTerms) -> float:
    """Compute the profit per client of the best list, at the mean save rate.

    Parameters
    ----------
    y, score, value : numpy.ndarray of shape (n_rows,)
        As for `profit_curve`.
    terms : GainTerms
        The costs and the belief about the save rate.

    Notes
    -----
    Verbraken, Verbeke and Baesens (2013), the deterministic measure MPC, equation 8.
    """
    return float(profit_curve(y, score, value, terms).profit(terms.save_rate).max() / len(y))
