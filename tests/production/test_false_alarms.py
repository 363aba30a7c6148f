"""On clean made-up data at most one run in a hundred raises an alarm, of all checks together."""

from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from scripts.core.config import CheckSettings, Config, Schema, WorklistSettings
from scripts.data import dataset
from scripts.data.read_report import FileReading, RejectedRow
from scripts.model import candidate, metrics, ranking
from scripts.production import checks, value_checks
from scripts.production.checks import Finding, OutcomeSums

SCHEMA = Schema(
    target="left", positive="1", negative="0", ids=("key",), numeric=("a", "b", "c"),
    categorical=("plan",),
)  # fmt: skip
SETTINGS = CheckSettings()


def make_clients(rng: np.random.Generator, n: int, intercept: float) -> pd.DataFrame:
    """Make clients whose labels follow a logistic model exactly."""
    numbers = rng.normal(size=(n, 3))
    plan = rng.choice(["basic", "plus", "pro"], n)
    log_odds = intercept + numbers @ [1.0, 0.5, 0.0] + 0.5 * (plan == "basic")
    left = rng.random(n) < 1 / (1 + np.exp(-log_odds))
    columns = dict(zip("abc", numbers.T, strict=True))
    # Many equal numbers, and blanks.
    columns["c"] = np.where(rng.random(n) < 0.1, np.nan, rng.poisson(0.7, n))
    keys = [f"k{number}" for number in rng.integers(0, 2**60, n)]
    return pd.DataFrame({"key": keys} | columns | {"plan": plan, "left": left.astype(int)})


def check_run(rng: np.random.Generator, config: Config) -> list[Finding]:
    """Play a run on clean data: train, test, a list before and today, outcomes of that before."""
    intercept = rng.uniform(-3, 0)
    training, test, before, today = (
        make_clients(rng, int(n), intercept) for n in (rng.integers(800, 4000), 800, 600, 620)
    )
    model = candidate.fit_candidate(training, "0" * 64, config).model
    y = test["left"].to_numpy()
    bands = ranking.rank(
        model, dataset.feature_arrays(today, SCHEMA), config.api, WorklistSettings()
    ).bands
    predicted, measured = (
        metrics.predict_table(model, today)[0],
        metrics.evaluate_model(model, test),
    )
    p = metrics.predict_table(model, before)[1]
    outcomes = OutcomeSums(
        len(before), len(before), int(before["left"].sum()), float(p.sum()),
        float((p * (1 - p)).sum()),
    )  # fmt: skip
    n_rejected = int(rng.poisson(8))
    rejected = [RejectedRow("a.csv", 2, "a", "no number")] * n_rejected
    reading = FileReading(Path("a.csv"), n_rows=len(training), rejected=rejected)
    return [
        *checks.check_leak(model, dataset.feature_arrays(test, SCHEMA), y, SETTINGS),
        *checks.check_f1(measured, SETTINGS),
        *checks.check_useless(measured, SETTINGS),
        *checks.check_labels(len(training), int(training["left"].sum()), SETTINGS),
        *checks.check_shared(test["key"], int(test["key"].isin(training["key"]).sum()), SETTINGS),
        *checks.check_rejected([reading], SETTINGS),
        *checks.check_list({str(b): bands.count(b) for b in set(bands)}, len(before), SETTINGS),
        *checks.check_predicted(
            int(predicted.sum()), len(today), float(training["left"].mean()), SETTINGS
        ),
        *checks.check_outcomes(outcomes, model.n_training_rows, SETTINGS),
        *checks.check_age(float(rng.integers(30, 61)), 30, 30, SETTINGS),
        *value_checks.check_values(dataset.feature_arrays(today, SCHEMA), model, config),
    ]


def count_alarms(n_runs: int, config: Config) -> dict[str, int]:
    """Count the runs with an alarm, by check, and of any check."""
    rng, counts = np.random.default_rng(20), {"any": 0}
    for _ in range(n_runs):
        names = {finding.name for finding in check_run(rng, config) if finding.is_alarm}
        counts["any"] += bool(names)
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    return counts


@pytest.fixture
def clean(config: Config) -> Config:
    """The config of an installation with the columns of these clients."""
    return msgspec.structs.replace(config, schema=SCHEMA)


def test_clean_runs_raise_hardly_an_alarm(clean: Config) -> None:
    # With one run in 100, three or more of 40 have a probability of 0.007.
    assert count_alarms(40, clean)["any"] <= 2


@pytest.mark.campaign
def test_at_most_one_clean_run_in_a_hundred_raises_an_alarm(clean: Config) -> None:
    n_runs = 1500

    counts = count_alarms(n_runs, clean)

    print(f"Runs with an alarm, of {n_runs}: {counts}")
    assert counts["any"] <= n_runs / 100
