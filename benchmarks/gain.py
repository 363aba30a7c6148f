"""What the order by gain brings beside the order by risk, and whether its intervals are true.

    python -m benchmarks.gain [REPEATS]

Each repeat is a company with clients of different worth. The share of leavers who can be kept is
drawn from the belief, and those who leave from their risks. Then both orders call the same number
of clients, and the best length of the list is compared with that which is best for the drawn share.
"""

import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from scripts.data.arrays import Floats, Ints
from scripts.model import gain, save_belief
from scripts.model.gain import GainTerms

TERMS = GainTerms(contact=15.0, offer=80.0, alpha=6.0, beta=14.0, takers_fraction=1.0)
N_CLIENTS, N_CALLS = 2_000, 100
# The worth of clients: from equal to a few large ones.
SPREADS = (0.0, 0.5, 1.0, 1.5)
N_LARGE = 1_000_000


def write_row(row: Sequence[str]) -> None:
    """Print a row of a table."""
    sys.stdout.write("".join(f"{cell:<22}" for cell in row).rstrip() + "\n")


def draw_clients(spread: float, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw the risks and the worth of clients."""
    risk = random.beta(1.2, 6.0, N_CLIENTS)
    value = 600.0 * np.exp(spread * random.normal(size=N_CLIENTS) - spread**2 / 2)
    return risk, value


def call(order: Floats, y: Ints, value: Floats, save_rate: float) -> float:
    """Return the profit of calling the first clients of an order."""
    saved, costs = gain.split_gains(y.astype(np.float64), value, TERMS)
    first = np.argsort(-order, kind="stable")[:N_CALLS]
    return float(np.sum(save_rate * saved[first] - costs[first]))


def compare_orders(spread: float, n_repeats: int) -> tuple[float, float, float]:
    """Return the mean profit by gain and by risk, and how often the interval covers."""
    random, profits, n_covered = np.random.default_rng(0), np.zeros(2), 0
    for _ in range(n_repeats):
        risk, value = draw_clients(spread, random)
        save_rate = float(random.beta(TERMS.alpha, TERMS.beta))
        y = (random.random(N_CLIENTS) < risk).astype(np.int64)
        gains = gain.expected_gains(risk, value, TERMS)
        profits += [call(order, y, value, save_rate) for order in (gains, risk)]
        best = save_belief.find_best_length(risk, value, TERMS)
        curve = gain.cumulate(gains, *gain.split_gains(risk, value, TERMS))
        n_covered += best.low <= curve.lengths[curve.best(save_rate)] <= best.high
    return *(profits / n_repeats).tolist(), n_covered / n_repeats


def compare_with_empulse() -> float | None:
    """Return the largest difference of EMPC from that of empulse, None where it is missing."""
    if find_spec("empulse") is None:
        return None
    theirs: Callable[..., float] = import_module("empulse.metrics").empc_score
    random, largest = np.random.default_rng(1), 0.0
    for n_rows in (50, 500, 5_000):
        y = (random.random(n_rows) < 0.25).astype(np.int64)
        score = np.round(0.6 * random.random(n_rows) + 0.4 * y * random.random(n_rows), 2)
        terms = GainTerms(contact=1, offer=10, alpha=6, beta=14, takers_fraction=1.0)
        ours = save_belief.expected_maximum_profit(y, score, np.full(n_rows, 200.0), terms)
        known = theirs(y, score, alpha=6, beta=14, clv=200, incentive_cost=10, contact_cost=1)
        largest = max(largest, abs(ours - known))
    return largest


def main() -> None:
    """Print both orders by the spread of the worth, the coverage, and the time of a large list."""
    n_repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    write_row(("spread of the worth", "gain, by gain", "gain, by risk", "interval covers"))
    for spread in SPREADS:
        by_gain, by_risk, covered = compare_orders(spread, n_repeats)
        write_row((f"{spread:g}", f"{by_gain:,.0f}", f"{by_risk:,.0f}", f"{covered:.1%}"))
    largest = compare_with_empulse()
    if largest is not None:
        sys.stdout.write(f"\nEMPC differs from that of empulse by at most {largest:.1e}.\n")
    random = np.random.default_rng(2)
    risk, value = random.beta(1.2, 6.0, N_LARGE), random.lognormal(6, 1, N_LARGE)
    start = time.process_time()
    best = save_belief.find_best_length(risk, value, TERMS)
    spent_s = time.process_time() - start
    sys.stdout.write(
        f"Gains and best length ({best.n_clients:,}) of {N_LARGE:,} clients: {spent_s:.2f} s CPU.\n"
    )


if __name__ == "__main__":
    main()
