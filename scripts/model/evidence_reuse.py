"""Corrections for test rows used to judge several candidates, where the winner looks too good.

Of several candidates measured on the same rows the best one is partly the luckiest. With k of them,
each interval has the level 0.95^(1/k), so that all k cover their truths with 95 %, also the one
that was chosen for its measurement. P(better) is raised to the power k.
"""

# Sources: Sidak (1967), "Rectangular confidence regions for the means of multivariate normal
# distributions"; for a parameter that is selected by its estimate: Benjamini and Yekutieli (2005),
# "False discovery rate-adjusted multiple confidence intervals for selected parameters".

LEVEL = 0.95
N_RESAMPLES = 2000
# Enough for the far tails of some fifty candidates, in a tenth of a second.
MAX_RESAMPLES = 100_000


def interval_percent(n_judged: int) -> tuple[float, float]:
    """Return the percentiles of an interval on rows with a number of judged candidates."""
    if n_judged == 1:
        return 2.5, 97.5
    tail_percent = 50 * (1 - LEVEL ** (1 / n_judged))
    return tail_percent, 100 - tail_percent


def count_resamples(n_judged: int) -> int:
    """Return the number of bootstrap resamples, more for the farther tails of more candidates."""
    return min(N_RESAMPLES * n_judged, MAX_RESAMPLES)


def correct_probability(probability: float, n_judged: int) -> float:
    """Return the probability of a better candidate, on rows with a number of candidates."""
    return float(probability**n_judged)
