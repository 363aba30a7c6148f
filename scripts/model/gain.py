"""The expected gain of contacting clients, the profit of a list, and the best length of a list."""

import numpy as np
from msgspec import Struct
from scipy.special import betainc, betaincinv

from scripts.core.config import CostSettings
from scripts.data.arrays import Floats, Ints, Places

TAILS = (0.025, 0.975)


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

    @property
    def save_interval(self) -> tuple[float, float]:
        """The 95 % interval of the save rate."""
        low, high = (float(betaincinv(self.alpha, self.beta, tail)) for tail in TAILS)
        return low, high


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


def upper_hull(slopes: Floats, heights: Floats) -> Places:
    """Return the places of the lines of the upper envelope, by rising slope."""
    hull: list[int] = []
    for place in np.lexsort((heights, slopes)).tolist():
        if hull and slopes[hull[-1]] == slopes[place]:
            # Of parallel lines the higher one comes last.
            hull.pop()
        while len(hull) > 1:
            first, last = hull[-2], hull[-1]
            left = (heights[first] - heights[place]) * (slopes[last] - slopes[first])
            right = (heights[first] - heights[last]) * (slopes[place] - slopes[first])
            if left > right:
                break
            hull.pop()
        hull.append(place)
    return np.array(hull, np.int64)


def expected_maximum_profit(y: Ints, score: Floats, value: Floats, terms: GainTerms) -> float:
    """Compute the profit per client of the best list for each save rate, over the belief.

    Parameters
    ----------
    y, score, value : numpy.ndarray of shape (n_rows,)
        As for `profit_curve`.
    terms : GainTerms
        The costs and the belief about the save rate.

    Returns
    -------
    float
        The integral over the save rate g of the highest g * `saved` - `costs` of a list. These are
        lines in g, so the highest one changes at the corners of their hull, and between two corners
        the integral is a difference of incomplete beta functions.

    Notes
    -----
    Verbraken, Verbeke and Baesens (2013), the measure EMPC, equation 9. With a value for each
    client: Oskarsdottir, Baesens and Vanthienen (2018), for known lifetime values.
    """
    curve = profit_curve(y, score, value, terms)
    hull = upper_hull(curve.saved, -curve.costs)
    saved, costs = curve.saved[hull], curve.costs[hull]
    corners = np.diff(costs) / np.diff(saved)
    bounds = np.concatenate([[0.0], np.clip(corners, 0.0, 1.0), [1.0]])
    mass = np.diff(betainc(terms.alpha, terms.beta, bounds))
    moment = terms.save_rate * np.diff(betainc(terms.alpha + 1, terms.beta, bounds))
    return float(np.sum(saved * moment - costs * mass) / len(y))


class ListLengthEstimate(Struct, frozen=True):
    """The number of clients to contact with the 95 % interval, and the gain of all of them."""

    n_clients: int
    low: int
    high: int
    gain: float
    gain_low: float
    gain_high: float


def find_best_length(probability: Floats, value: Floats, terms: GainTerms) -> ListLengthEstimate:
    """Find the length of the list with the highest expected gain, ordered by expected gain.

    Parameters
    ----------
    probability, value : numpy.ndarray of shape (n_clients,)
        The probability of leaving, and the worth.
    terms : GainTerms
        The costs and the belief about the save rate.

    Returns
    -------
    ListLengthEstimate
        The interval is that of the belief about the save rate: a higher rate makes the best list
        longer, so the ends are the best lengths at the ends of the rate's interval. Chance in the
        probabilities is not in it.
    """
    saved, costs = split_gains(probability, value, terms)
    curve = cumulate(terms.save_rate * saved - costs, saved, costs)
    place = curve.best(terms.save_rate)
    low, high = sorted(int(curve.lengths[curve.best(rate)]) for rate in terms.save_interval)
    gains = [float(curve.profit(rate)[place]) for rate in (terms.save_rate, *terms.save_interval)]
    return ListLengthEstimate(int(curve.lengths[place]), low, high, gains[0], *sorted(gains[1:]))
