"""How much the best of several candidates overstates its F1 on the test rows that chose it.

    python -m benchmarks.reuse [REPEATS]

Each candidate predicts from the same risk with a noise of its own. The one with the highest F1 on
the test rows is recorded, with the plain and with the corrected interval, and the true F1 is that
on a large population.
"""

import sys
from dataclasses import dataclass

import numpy as np

from scripts.data.arrays import Floats, Ints
from scripts.model import metrics

# On average one client in three leaves; the candidates reach an F1 of about 0.6.
SLOPE, OFFSET, THRESHOLD = 1.5, -1.0, 0.45
NOISE, THRESHOLD_NOISE = 0.3, 0.05
HEADER = ("test rows", "candidates", "overstated by", "plain interval", "corrected interval")


@dataclass(frozen=True)
class ReuseResult:
    """How often both intervals of the winner cover its true F1, and how much F1 is overstated."""

    n_repeats: int
    n_covered_plain: int
    n_covered_corrected: int
    overstatement: float


def draw_candidates(risk: Floats, n_candidates: int, random: np.random.Generator) -> list[Ints]:
    """Draw the predictions of candidates of about equal quality."""
    return [
        (
            risk + NOISE * random.normal(size=len(risk))
            > THRESHOLD + THRESHOLD_NOISE * random.normal()
        ).astype(np.int64)
        for _ in range(n_candidates)
    ]


def count_outcomes(y: Ints, predicted: Ints) -> tuple[int, int, int, int]:
    """Count true and false positives, false and true negatives."""
    tn, fp, fn, tp = map(int, np.bincount(2 * y + predicted, minlength=4))
    return tp, fp, fn, tn


def measure(
    *, n_rows: int, n_candidates: int, n_repeats: int, n_population: int, seed: int = 0
) -> ReuseResult:
    """Choose the best of some candidates again and again, and count what its intervals cover."""
    random, covered, overstated = np.random.default_rng(seed), np.zeros(2, dtype=np.int64), 0.0
    for _ in range(n_repeats):
        risk = random.normal(size=n_population)
        leaves = random.random(n_population) < 1 / (1 + np.exp(-(SLOPE * risk + OFFSET)))
        y = leaves.astype(np.int64)
        candidates = draw_candidates(risk, n_candidates, random)
        f1s = [metrics.f1_of(y[:n_rows], predicted[:n_rows]) or 0.0 for predicted in candidates]
        winner = candidates[int(np.argmax(f1s))]
        true_f1 = metrics.f1_of(y[n_rows:], winner[n_rows:]) or 0.0
        overstated += max(f1s) - true_f1
        for number, n_judged in enumerate((1, n_candidates)):
            counts = count_outcomes(y[:n_rows], winner[:n_rows])
            low, high = metrics.f1_interval(*counts, n_judged)
            covered[number] += low is not None and high is not None and low <= true_f1 <= high
    return ReuseResult(n_repeats, int(covered[0]), int(covered[1]), overstated / n_repeats)


def main() -> None:
    """Print a row per number of test rows and candidates."""
    n_repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rows = [HEADER]
    for n_rows in (100, 200, 500, 1000):
        for n_candidates in (1, 10, 20):
            result = measure(
                n_rows=n_rows, n_candidates=n_candidates, n_repeats=n_repeats, n_population=50_000
            )
            rows.append(
                (
                    str(n_rows),
                    str(n_candidates),
                    f"{result.overstatement:+.3f}",
                    f"{result.n_covered_plain / n_repeats:.1%}",
                    f"{result.n_covered_corrected / n_repeats:.1%}",
                )
            )
    for row in rows:
        sys.stdout.write("".join(f"{cell:<20}" for cell in row).rstrip() + "\n")


if __name__ == "__main__":
    main()
