"""Whether the trial of the list says the truth: nulls, real effects, and the published harm.

    python -m benchmarks.holdout [REPEATS]

Each repeat is a company that asks after every period whether calling helps, and once in between.
Counted is what any of these answers said.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scripts.clients import calling_effect
from scripts.model import holdout_effect
from scripts.model.holdout_effect import Arm, Belief, EffectVerdict

HEADER = ("left alone, listed", "list, held out", "periods", "helps", "harms", "cannot tell")


@dataclass(frozen=True)
class Company:
    """Shares of leavers of both groups, clients to call in a period, and the share held out."""

    held_out_share: float
    listed_share: float
    n_called: int
    fraction: float
    n_periods: int


NULLS = (
    Company(0.2, 0.2, 200, 0.1, 12),
    Company(0.05, 0.05, 200, 0.1, 12),
    Company(0.1, 0.1, 1000, 0.1, 6),
    Company(0.1, 0.1, 50, 0.2, 24),
)
EFFECTS = (
    Company(0.2, 0.14, 200, 0.1, 12),
    Company(0.2, 0.14, 1000, 0.1, 12),
    # 10.0 % of the clients contacted left, and 6.4 % of those left alone.
    Company(0.064, 0.1, 200, 0.1, 12),
    Company(0.064, 0.1, 1000, 0.1, 12),
)


def ask(company: Company, random: np.random.Generator) -> EffectVerdict:
    """Return the first answer of a company that leaves no doubt, else that it cannot tell."""
    n_held_out = round(company.n_called * company.fraction)
    n_listed = company.n_called - n_held_out
    listed = np.cumsum(random.binomial(n_listed, company.listed_share, company.n_periods))
    held_out = np.cumsum(random.binomial(n_held_out, company.held_out_share, company.n_periods))
    for k in range(company.n_periods):
        arms = Arm(n_listed * (k + 1), int(listed[k])), Arm(n_held_out * (k + 1), int(held_out[k]))
        # Once a period, and once in between.
        effect = holdout_effect.compare(*arms, n_looks=k + 2)
        verdict = calling_effect.judge(effect, *arms)
        if verdict in (EffectVerdict.HELPS, EffectVerdict.HARMS):
            return verdict
    return EffectVerdict.OPEN


def count_answers(company: Company, n_repeats: int, seed: int = 0) -> Counter[EffectVerdict]:
    """Count the answers of many such companies."""
    random = np.random.default_rng(seed)
    return Counter(ask(company, random) for _ in range(n_repeats))


def format_row(company: Company, answers: Counter[EffectVerdict], n_repeats: int) -> Sequence[str]:
    """Return the counts of a company as a row of text."""
    shares = [
        f"{answers[v] / n_repeats:.1%}"
        for v in (EffectVerdict.HELPS, EffectVerdict.HARMS, EffectVerdict.OPEN)
    ]
    return (
        f"{company.held_out_share:.1%}, {company.listed_share:.1%}",
        f"{company.n_called}, {company.fraction:.0%}",
        str(company.n_periods),
        *shares,
    )


def write_row(row: Sequence[str]) -> None:
    """Print a row of the table."""
    sys.stdout.write("".join(f"{cell:<21}" for cell in row).rstrip() + "\n")


def show_learning() -> None:
    """Print how a measured save rate of 45 % replaces the belief of 30 %."""
    write_row(("", "", ""))
    write_row(("held-out clients", "measured save rate", "gains count on"))
    believed = Belief(6, 14)
    for n_held_out in (100, 1_000, 10_000, 100_000):
        arms = Arm(9 * n_held_out, round(0.99 * n_held_out)), Arm(n_held_out, n_held_out // 5)
        measured = holdout_effect.measure_save_rate(*arms)
        assert measured is not None
        updated = holdout_effect.update_belief(believed, measured)
        spread = f"{measured.save_rate:.0%} +- {1.96 * measured.standard_error:.0%}"
        write_row((str(n_held_out), spread, f"{updated.mean:.1%}"))


def main() -> None:
    """Print the answers to nulls and to real effects, and how the save rate is learned."""
    n_repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    write_row(HEADER)
    for company in (*NULLS, *EFFECTS):
        write_row(format_row(company, count_answers(company, n_repeats), n_repeats))
    show_learning()


if __name__ == "__main__":
    main()
