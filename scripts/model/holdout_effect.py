"""The effect of calling: leavers among the listed clients against those of a held-out group."""

import math
from enum import StrEnum
from statistics import NormalDist

from msgspec import Struct

from scripts.model import evidence_reuse, outcome_metrics
from scripts.model.outcome_metrics import Share

NORMAL = NormalDist()
POWER = 0.8
LEVEL = 0.95
# The mean of the save rate stays inside (0, 1), where a Beta distribution has a density.
LEAST_RATE = 0.001


class EffectVerdict(StrEnum):
    """The answer to the question whether calling helps."""

    HELPS = "helps"
    HARMS = "harms"
    OPEN = "cannot tell"
    NO_DATA = "no outcomes yet"


class Arm(Struct, frozen=True):
    """The clients of an arm with a known outcome, and the leavers among them."""

    n_clients: int
    n_left: int

    def __add__(self, other: "Arm") -> "Arm":
        """Return the clients of both arms."""
        return Arm(self.n_clients + other.n_clients, self.n_left + other.n_left)

    @property
    def share(self) -> float:
        """The share of leavers."""
        return self.n_left / self.n_clients


class HoldoutEffect(Struct, frozen=True):
    """The share of leavers of both arms, and the difference with the interval, None without data.

    The difference is that of the listed less the held-out clients: below 0 calling helps.
    """

    listed: Share
    held_out: Share
    difference: float | None
    low: float | None
    high: float | None

    @property
    def verdict(self) -> EffectVerdict:
        """Whether the interval leaves a doubt."""
        if self.low is None or self.high is None:
            return EffectVerdict.NO_DATA
        if self.high < 0:
            return EffectVerdict.HELPS
        return EffectVerdict.HARMS if self.low > 0 else EffectVerdict.OPEN


def normal_point(n_looks: int) -> float:
    """Return the normal quantile of an interval at a number of looks."""
    return NORMAL.inv_cdf(evidence_reuse.interval_percent(n_looks)[1] / 100)


def compare(listed: Arm, held_out: Arm, n_looks: int = 1) -> HoldoutEffect:
    """Compare the leavers of two groups formed by chance.

    Parameters
    ----------
    listed, held_out : Arm
        The clients on the list, and those left out.
    n_looks : int
        How often the question was asked, this time included.

    Returns
    -------
    HoldoutEffect
        With a 95 % interval, wider for several looks.

    Notes
    -----
    Newcombe (1998), "Interval estimation for the difference between independent proportions:
    comparison of eleven methods", method 10: from the Wilson intervals of both shares. The looks:
    `scripts.model.evidence_reuse`.
    """
    z = normal_point(n_looks)
    one, two = (
        outcome_metrics.share_of(arm.n_left, arm.n_clients, z) for arm in (listed, held_out)
    )
    if one.share is None or two.share is None:
        return HoldoutEffect(one, two, None, None, None)
    assert None not in (one.low, one.high, two.low, two.high)
    difference = one.share - two.share
    below = math.hypot(one.share - (one.low or 0.0), (two.high or 0.0) - two.share)
    above = math.hypot((one.high or 0.0) - one.share, two.share - (two.low or 0.0))
    return HoldoutEffect(one, two, difference, difference - below, difference + above)


def clients_needed(share_left: float, save_rate: float, held_out_fraction: float) -> int | None:
    """Return the number of clients for an effect to be seen with a power of 80 %.

    Parameters
    ----------
    share_left : float
        The share of leavers among those left alone.
    save_rate : float
        The share of them that a call keeps.
    held_out_fraction : float
        The share of the clients that are held out.

    Returns
    -------
    int or None
        Of both groups together, at a two-sided level of 5 %; None without an effect to see.

    Notes
    -----
    Fleiss, Levin and Paik (2003), "Statistical Methods for Rates and Proportions", section 4.2,
    without the correction for continuity.
    """
    called = share_left * (1 - save_rate)
    if not 0 < share_left < 1 or called >= share_left or not 0 < held_out_fraction < 1:
        return None
    z = NORMAL.inv_cdf(1 - (1 - LEVEL) / 2) + NORMAL.inv_cdf(POWER)
    variance = share_left * (1 - share_left) / held_out_fraction
    variance += called * (1 - called) / (1 - held_out_fraction)
    return math.ceil(z**2 * variance / (share_left - called) ** 2)


class Compliers(Struct, frozen=True):
    """The effect on clients contacted because of the list, and their share of all clients."""

    share: float
    difference: float
    low: float
    high: float


def effect_by_contact(
    effect: HoldoutEffect, listed_contacted: float, held_out_contacted: float
) -> Compliers | None:
    """Return the effect of a contact on the clients contacted because of the list.

    Parameters
    ----------
    effect : HoldoutEffect
        By intention to treat.
    listed_contacted, held_out_contacted : float
        The share of each group that was contacted.

    Returns
    -------
    Compliers or None
        None without data, or where the list decided on nobody's contact.

    Notes
    -----
    The effect by intention to treat over the difference of the contacted shares: Angrist, Imbens
    and Rubin (1996), "Identification of causal effects using instrumental variables". The shares
    are taken as known.
    """
    share = listed_contacted - held_out_contacted
    if effect.difference is None or effect.low is None or effect.high is None or share <= 0:
        return None
    return Compliers(share, effect.difference / share, effect.low / share, effect.high / share)


class Belief(Struct, frozen=True):
    """A Beta distribution of the save rate."""

    alpha: float
    beta: float

    @property
    def mean(self) -> float:
        """The mean."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def variance(self) -> float:
        """The variance."""
        return self.mean * (1 - self.mean) / (self.alpha + self.beta + 1)


class MeasuredRate(Struct, frozen=True):
    """A measured save rate and the standard error. Below 0 calling harms."""

    save_rate: float
    standard_error: float

    @property
    def is_harm(self) -> bool:
        """Whether the whole 95 % interval is below 0."""
        return self.save_rate + outcome_metrics.Z * self.standard_error < 0


def measure_save_rate(
    listed: Arm, held_out: Arm, contacted_share: float = 1.0
) -> MeasuredRate | None:
    """Return the share of leavers kept by a contact, None without leavers in both groups.

    Parameters
    ----------
    listed, held_out : Arm
        The clients on the list, and those left out.
    contacted_share : float
        The share of clients that was contacted because of the list, in (0, 1].

    Notes
    -----
    One less the ratio of both shares of leavers, over the contacted share. The variance of a ratio
    by the delta method: Katz, Baptista, Azen and Pike (1978), "Obtaining confidence intervals for
    the risk ratio in cohort studies".
    """
    if not listed.n_left or not held_out.n_left or contacted_share <= 0:
        return None
    ratio = listed.share / held_out.share
    variance = (1 - listed.share) / listed.n_left + (1 - held_out.share) / held_out.n_left
    if not variance:
        return None
    error = ratio * math.sqrt(variance)
    return MeasuredRate((1 - ratio) / contacted_share, error / contacted_share)


def update_belief(believed: Belief, measured: MeasuredRate | None) -> Belief:
    """Return the belief about the save rate after a measurement.

    Parameters
    ----------
    believed : Belief
        The belief of the config.
    measured : MeasuredRate or None
        The measured save rate.

    Returns
    -------
    Belief
        The mean is that of belief and measurement, each weighted by one over its variance, so a
        measurement with a short interval replaces the belief. A measured harm refutes the belief,
        which only knows rates above 0, and leaves a rate near 0.

    Notes
    -----
    The conjugate update of a normal mean with known variance: Gelman, Carlin, Stern, Dunson,
    Vehtari and Rubin (2013), "Bayesian Data Analysis", section 2.5. The Beta distribution before
    gives mean and variance, and the one after has those of the result.
    """
    if measured is None:
        return believed
    weight = 0.0 if measured.is_harm else 1 / believed.variance
    weights = weight, 1 / measured.standard_error**2
    variance = 1 / sum(weights)
    mean = (weights[0] * believed.mean + weights[1] * measured.save_rate) * variance
    mean = min(max(mean, LEAST_RATE), 1 - LEAST_RATE)
    # Near the ends a Beta distribution cannot have a larger variance.
    total = max(mean * (1 - mean) / variance - 1, 2.0)
    return Belief(mean * total, (1 - mean) * total)
