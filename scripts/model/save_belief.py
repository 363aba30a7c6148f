"""The belief about the save rate: the profit over all rates, and the best length of a list."""

import numpy as np
from msgspec import Struct
from scipy.special import betainc, betaincinv

from scripts.data.arrays import Floats, Ints, Places
from scripts.model import gain
from scripts.model.gain import GainTerms

TAILS = (0.025, 0.975)


def save_interval(terms: GainTerms) -> tuple[float, float]:
    """Return the 95 % interval of the save rate."""
    low, high = (float(betaincinv(terms.alpha, terms.beta, tail)) for tail in TAILS)
    return low, high


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
        As for `gain.profit_curve`.
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
    curve = gain.profit_curve(y, score, value, terms)
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
    interval = save_interval(terms)
    saved, costs = gain.split_gains(probability, value, terms)
    curve = gain.cumulate(terms.save_rate * saved - costs, saved, costs)
    place = curve.best(terms.save_rate)
    low, high = sorted(int(curve.lengths[curve.best(rate)]) for rate in interval)
    gains = [float(curve.profit(rate)[place]) for rate in (terms.save_rate, *interval)]
    return ListLengthEstimate(int(curve.lengths[place]), low, high, gains[0], *sorted(gains[1:]))
