"""Simulation of promotion gates: batches of a labelled table replayed under several gates."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from msgspec import Struct, field
from msgspec.structs import replace

from scripts.core import progress
from scripts.core.config import Config, PromotionSettings
from scripts.core.errors import InsufficientDataError
from scripts.data import dataset
from scripts.data.arrays import Floats
from scripts.model import candidate, gain, metrics, paired_log_loss, paired_metrics
from scripts.model.logistic_model import Model
from scripts.model.paired_log_loss import LogLossComparison
from scripts.model.paired_metrics import MetricComparison, MetricTerms
from scripts.production import client_values, promotion_gate, promotion_metric
from scripts.production.promotion_gate import Decision, GateVerdict, Labels

HELD_OUT_FRACTION = 0.4
# In order of time the repeats differ by the rows that are drawn.
DRAWN_FRACTION = 0.8
MIN_BATCH_ROWS = 20
N_CLEAR_ERRORS = 2
# So much below the best candidate before, a model is called bad. The expected gain has no scale of
# its own, so there it is a share of the best.
BAD_STEP = 0.02
BAD_SHARE = 0.05
HEADER = ("test rows", "gate", "promotions", "downgrades", "share", "bad time")
BETTER, NOT_WORSE = "plain rule: higher F1", "rule not_worse: log loss"


class SimulationPlan(Struct, frozen=True, kw_only=True):
    """The settings of a simulation."""

    n_batches: int
    n_repeats: int
    n_test_rows: tuple[int, ...]
    cumulative: bool
    seed: int


class GateRule(Struct, frozen=True):
    """A gate and its name, without settings if every candidate is deployed."""

    name: str
    settings: PromotionSettings | None


class ReplayCounts(Struct):
    """The promotions and downgrades of a gate over all repeats."""

    n_promotions: int = 0
    n_downgrades: int = 0
    final_values: list[float] = field(default_factory=list)
    n_steps: int = 0
    n_bad_steps: int = 0

    @property
    def bad_fraction(self) -> float:
        """Return the share of time with a bad model in production."""
        return self.n_bad_steps / self.n_steps if self.n_steps else 0.0

    def format_row(self, n_test_rows: int, name: str) -> tuple[str, ...]:
        """Return the row of a gate in the columns of HEADER."""
        share = f"{self.n_downgrades / self.n_promotions:.0%}" if self.n_promotions else "-"
        counts = (str(self.n_promotions), str(self.n_downgrades), share, f"{self.bad_fraction:.0%}")
        return (str(n_test_rows), name, *counts, f"{fmean(self.final_values):.4f}")


class SimulatedCandidate(Struct, frozen=True):
    """The predictions of a model on the test rows, and the true value on the held-out rows.

    The value is the F1, or another metric of the promotion, of which a higher one is better.
    """

    test_predictions: Labels
    true_value: float
    test_probabilities: Floats | None = None


NO_TERMS = MetricTerms()

Results = dict[tuple[int, GateRule], ReplayCounts]


class Replay(Struct, frozen=True):
    """The labels of the test rows and the candidates in order, from a shuffle of the table.

    `terms` are what a metric needs of the test rows.
    """

    y_test: Labels
    candidates: tuple[SimulatedCandidate, ...]
    terms: MetricTerms = NO_TERMS


def list_metrics(config: Config) -> tuple[str, ...]:
    """Return the metrics besides F1 that the config defines."""
    known = {
        "log_loss": True,
        "recall_at_capacity": config.worklist.capacity is not None,
        "expected_gain": config.worklist.value is not None,
    }
    return tuple(name for name, is_defined in known.items() if is_defined)


def list_rules(
    configured: PromotionSettings, others: Sequence[str] = ("log_loss",)
) -> list[GateRule]:
    """Return the gates to compare, from the most open to the strictest, then the configured.

    `others` are metrics besides F1, each of which makes a gate.
    """
    plain = PromotionSettings()

    def stricter(**limits: Any) -> PromotionSettings:
        """Return the default settings of the gate with other limits."""
        return msgspec.structs.replace(plain, **limits)

    return [
        GateRule("always the newest", None),
        GateRule(BETTER, plain),
        GateRule(NOT_WORSE, msgspec.structs.replace(plain, rule="not_worse")),
        *(
            GateRule(f"min_probability {limit}", stricter(min_probability=limit))
            for limit in (0.8, 0.9, 0.95)
        ),
        GateRule("min_test_rows 200", stricter(min_test_rows=200)),
        GateRule("min_positives 100", stricter(min_positives=100)),
        *(GateRule(f"metric {name}", stricter(metric=name)) for name in others),
        GateRule("as config.json has it", configured),
    ]


def draw_in_order(days: Labels, random: np.random.Generator) -> Labels:
    """Draw most of the row numbers, and return them in order of time."""
    drawn = random.permutation(len(days))[: int(len(days) * DRAWN_FRACTION)]
    ordered: Labels = drawn[np.lexsort((drawn, days[drawn]))]
    return ordered


def split_rows(
    n_rows: int, plan: SimulationPlan, random: np.random.Generator, days: Labels | None = None
) -> list[Labels]:
    """Split row numbers into held-out rows, test rows and batches.

    The rows are shuffled. With the days of the rows, the batches come first in order of time, then
    the test rows, and the held-out rows are the latest; each repeat draws other rows.

    Raises
    ------
    InsufficientDataError
        If a batch would have fewer than 20 rows.
    """
    if days is not None:
        n_rows = int(n_rows * DRAWN_FRACTION)
    n_held_out, n_test = int(n_rows * HELD_OUT_FRACTION), max(plan.n_test_rows)
    n_batch_rows = (n_rows - n_held_out - n_test) // plan.n_batches
    if n_batch_rows < MIN_BATCH_ROWS:
        raise InsufficientDataError(
            f"{n_rows} rows are too few: {n_held_out} are held out, {n_test} are for tests, and"
            f" each of {plan.n_batches} batches needs {MIN_BATCH_ROWS}. Choose fewer batches or"
            " test rows, or give a larger table."
        )
    # In order of time the latest rows stand first, so that the batches have the earliest.
    order = random.permutation(n_rows) if days is None else draw_in_order(days, random)[::-1]
    cuts = [
        0,
        n_held_out,
        *(n_held_out + n_test + k * n_batch_rows for k in range(plan.n_batches + 1)),
    ]
    parts = [order[start:end] for start, end in pairwise(cuts)]
    return parts if days is None else [*parts[:2], *reversed(parts[2:])]


def fit_batches(
    table: pd.DataFrame, batches: Sequence[Labels], config: Config, *, cumulative: bool
) -> Iterator[Model]:
    """Fit a candidate to each batch, or to every batch up to there, skipping unfit batches."""
    for number in range(len(batches)):
        rows = np.concatenate(batches[: number + 1]) if cumulative else batches[number]
        try:
            yield candidate.fit_candidate(table.iloc[rows].reset_index(drop=True), "", config).model
        except InsufficientDataError:
            continue


def find_terms(table: pd.DataFrame, config: Config) -> MetricTerms:
    """Return the list length, the worth and the costs for the metrics of a table."""
    settings, value, costs = config.worklist, None, None
    if settings.value is not None and settings.costs is not None:
        value = client_values.find_values(table, settings.value)
        costs = gain.as_terms(settings.costs)
    fraction = promotion_metric.find_listed_fraction(settings, len(table))
    return MetricTerms(fraction, value, costs)


def select_rows(terms: MetricTerms, rows: Labels | slice) -> MetricTerms:
    """Return the inputs of the metrics for some rows."""
    return terms if terms.value is None else replace(terms, value=terms.value[rows])


def measure_truth(
    metric: str, y: Labels, predicted: Labels, probability: Floats, terms: MetricTerms
) -> float:
    """Return the value of a model on held-out rows, where higher is better."""
    if metric == "f1":
        return metrics.f1_of(y, predicted) or 0.0
    value = paired_metrics.measure(metric, y, probability, terms)
    return -value if metric in paired_metrics.FALLING else value


def prepare_replay(
    table: pd.DataFrame,
    config: Config,
    plan: SimulationPlan,
    random: np.random.Generator,
    days: Labels | None = None,
) -> Replay:
    """Shuffle the table, fit every candidate, and predict the test and held-out rows."""
    held_out, test, *batches = split_rows(len(table), plan, random, days)
    y, terms = dataset.target(table, config.schema), find_terms(table, config)
    candidates = []
    for fitted in fit_batches(table, batches, config, cumulative=plan.cumulative):
        predicted, probability = metrics.predict_table(fitted, table)
        true_value = measure_truth(
            config.promotion.metric, y[held_out], predicted[held_out], probability[held_out],
            select_rows(terms, held_out),
        )  # fmt: skip
        candidates.append(SimulatedCandidate(predicted[test], true_value, probability[test]))
    return Replay(y[test], tuple(candidates), select_rows(terms, test))


def compare_losses(
    replay: Replay,
    n_test_rows: int,
    challenger: SimulatedCandidate,
    production: SimulatedCandidate | None,
) -> LogLossComparison | None:
    """Compare the log loss of two candidates on the test rows, None without probabilities."""
    if production is None or production.test_probabilities is None:
        return None
    if challenger.test_probabilities is None:
        return None
    return paired_log_loss.compare(
        replay.y_test[:n_test_rows],
        challenger.test_probabilities[:n_test_rows],
        production.test_probabilities[:n_test_rows],
    )


def compare_metric(
    replay: Replay,
    n_test_rows: int,
    challenger: SimulatedCandidate,
    production: SimulatedCandidate | None,
    metric: str,
) -> MetricComparison | None:
    """Compare two candidates on the test rows by a metric, None for F1 or without both classes."""
    y, pair = replay.y_test[:n_test_rows], []
    for model in (challenger, production):
        if model is not None and model.test_probabilities is not None:
            pair.append(model.test_probabilities[:n_test_rows])
    if metric == "f1" or len(pair) < len(("challenger", "production")) or y.all() or not y.any():
        return None
    terms = select_rows(replay.terms, slice(n_test_rows))
    return paired_metrics.compare(metric, y, (pair[0], pair[1]), terms)


def decide(
    replay: Replay,
    n_test_rows: int,
    challenger: SimulatedCandidate,
    production: SimulatedCandidate | None,
    rule: GateRule,
) -> GateVerdict:
    """Return the verdict of a gate on a challenger of the production model."""
    if rule.settings is None:
        return GateVerdict.DEPLOY
    decision: Decision = promotion_gate.should_deploy(
        replay.y_test[:n_test_rows],
        challenger.test_predictions[:n_test_rows],
        None if production is None else production.test_predictions[:n_test_rows],
        rule.settings,
        losses=compare_losses(replay, n_test_rows, challenger, production),
        measured=compare_metric(replay, n_test_rows, challenger, production, rule.settings.metric),
    )
    return decision.answer


def is_bad(production: SimulatedCandidate | None, best_value: float, metric: str) -> bool:
    """Return whether the model in production is clearly below the best candidate before."""
    step = BAD_SHARE * abs(best_value) if metric == "expected_gain" else BAD_STEP
    return production is None or production.true_value < best_value - step


def play(
    replay: Replay, n_test_rows: int, rule: GateRule, counts: ReplayCounts, metric: str = "f1"
) -> None:
    """Present the candidates to a gate in order, and count promotions, downgrades and bad times."""
    production: SimulatedCandidate | None = None
    best_value = -math.inf
    for challenger in replay.candidates:
        if decide(replay, n_test_rows, challenger, production, rule) is GateVerdict.DEPLOY:
            if production is not None:
                counts.n_promotions += 1
                counts.n_downgrades += challenger.true_value < production.true_value
            production = challenger
        best_value = max(best_value, challenger.true_value)
        counts.n_steps += 1
        counts.n_bad_steps += is_bad(production, best_value, metric)
    counts.final_values.append(0.0 if production is None else production.true_value)


def replay_table(
    table: pd.DataFrame, config: Config, plan: SimulationPlan, days: Labels | None = None
) -> Results:
    """Replay a table under every gate and return the counts.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        A labelled client table without duplicate rows. It is left unchanged.
    config : Config
        Schema, training settings, and the gate in use.
    plan : SimulationPlan
        Batches, test rows, repeats; the same plan on the same table gives the same result.
    days : numpy.ndarray of shape (n_rows,), optional
        The day of each row: the batches then come in order of time, and what decides is later.

    Returns
    -------
    dict of (int, GateRule) to ReplayCounts
        By number of test rows and gate. A downgrade is a
        promotion of a model that is worse on the held-out rows than the replaced model, by F1 or
        the metric of config.json. The final value is that of the last model on the held-out rows,
        as a mean over the repeats. The bad time is the share of the candidates at which the model
        that serves is more than 0.02 below the best candidate up to then; of the expected gain, 5 %
        of the best.

    Notes
    -----
    docs/how-it-decides.md, section "Choosing a gate".
    """
    rules = list_rules(config.promotion, list_metrics(config))
    results = {(n, rule): ReplayCounts() for n in plan.n_test_rows for rule in rules}
    with progress.shown("Repeats", plan.n_repeats):
        for number in range(plan.n_repeats):
            random = np.random.default_rng((plan.seed, number))
            replay = prepare_replay(table, config, plan, random, days)
            for (n_test_rows, rule), counts in results.items():
                play(replay, n_test_rows, rule, counts, config.promotion.metric)
            progress.advance(1, len(table))
    return results


def is_clear(differences: Floats) -> bool:
    """Return whether a mean difference over the repeats exceeds two standard errors."""
    if len(differences) == 1:
        return False
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    return abs(float(np.mean(differences))) > N_CLEAR_ERRORS * error


def name_columns(metric: str) -> tuple[str, ...]:
    """Return the names of the columns for a metric of the promotion."""
    name = paired_metrics.NAMES[metric]
    return (*HEADER, f"final {'negative ' if metric in paired_metrics.FALLING else ''}{name}")


def advise(results: Results, n_test_rows: int, metric: str = "f1") -> str:
    """Recommend a rule for a number of test rows, by the final value and the time of bad models.

    The value decides if the repeats show a clear difference, otherwise the time in which a bad
    model serves does. Downgrades do not count: a step down by a hair harms nobody.
    """
    by_name = {rule.name: counts for (n, rule), counts in results.items() if n == n_test_rows}
    better, not_worse = by_name[BETTER], by_name[NOT_WORSE]
    name = paired_metrics.NAMES[metric]
    step = "5 %" if metric == "expected_gain" else str(BAD_STEP)
    differences = np.array(not_worse.final_values) - np.array(better.final_values)
    facts = (
        f"{n_test_rows} test rows: final {name} {fmean(not_worse.final_values):.4f} by not_worse,"
        f" {fmean(better.final_values):.4f} by better; a bad model ({name} {step} below the best"
        f" before) serves {not_worse.bad_fraction:.0%} and {better.bad_fraction:.0%} of the time."
    )
    if is_clear(differences):
        choice = "not_worse" if float(np.mean(differences)) > 0 else "better"
        return f'{facts} Recommended: promotion.rule "{choice}", for the final {name}.'
    if not_worse.bad_fraction == better.bad_fraction:
        return f"{facts} Both rules are equal here; keep the one you have."
    choice = "not_worse" if not_worse.bad_fraction < better.bad_fraction else "better"
    return f'{facts} Recommended: promotion.rule "{choice}", for less time of bad models.'


def format_results(results: Results) -> list[tuple[str, ...]]:
    """Return the counts as rows of text, in the columns of HEADER."""
    return [counts.format_row(n, rule.name) for (n, rule), counts in results.items()]
