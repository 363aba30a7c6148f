"""The test of the latest mature month says what the next month brings; a random split does not."""

import csv
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from examples.saas import make_data
from scripts import ingestion, scoring, training
from scripts.core import config_file
from scripts.core.config import Config
from scripts.data import client_dates
from scripts.engine import dated_ingest, mature_rows
from scripts.model import metrics
from scripts.model.logistic_model import Model
from scripts.model.metrics import Evaluation
from scripts.production import backtest
from scripts.production.run_context import RunContext

HORIZON_DAYS = 30


def evaluate_next(model: Model, clients: pd.DataFrame, folder: Path) -> Evaluation:
    """Evaluate a model on the clients of the newest extract, by what nobody knows yet."""
    with (folder / "truth" / "left.csv").open() as file:
        leaves = dict(list(csv.reader(file))[1:])
    schema = model.schema
    y = []
    for name, day in zip(clients[schema.client_key], clients[schema.as_of], strict=True):
        left = leaves.get(name)
        days = None if left is None else date.fromisoformat(left) - date.fromisoformat(day)
        y.append(int(days is not None and 0 < days.days <= HORIZON_DAYS))
    return metrics.evaluate(np.array(y), *metrics.predict_table(model, clients))


def split_at_random(config: Config) -> tuple[Model, Evaluation]:
    """Return a model of most mature rows, and its evaluation on the others."""
    paths = ingestion.find_input(config)
    schema = ingestion.choose_schema(RunContext(config), paths)
    read = dated_ingest.read_input(paths, schema, config, client_dates.today())
    table = mature_rows.select(read, schema).table
    config = msgspec.structs.replace(config, schema=client_dates.dataset_schema(schema))
    is_test = backtest.draw_split(len(table), 0)
    model = backtest.fit(table[~is_test], config)
    return model, metrics.evaluate_model(model, table[is_test])


def is_inside(measured: Evaluation, following: Evaluation) -> bool:
    """Return whether the F1 of the next month lies in the interval that was told for it."""
    expected = metrics.next_interval(measured)
    assert expected is not None
    assert following.f1 is not None
    return expected[0] <= following.f1 <= expected[1]


def play(folder: Path, seed: int) -> tuple[bool, bool]:
    """Return whether the test, and a random split, said what the next month brings."""
    command = [str(folder), "--seed", str(seed)]
    made = CliRunner().invoke(make_data.main, command)
    assert made.exit_code == 0, made.output
    config = config_file.read_config(folder / "config.json")
    ingested, model = ingestion.main(config), training.main(config).model
    measured = scoring.main(config).evaluation
    mixed, promised = split_at_random(config)
    return (
        is_inside(measured, evaluate_next(model, ingested.clients, folder)),
        is_inside(promised, evaluate_next(mixed, ingested.clients, folder)),
    )


def test_the_test_says_what_the_next_month_brings_where_a_random_split_does_not(
    tmp_path: Path,
) -> None:
    assert play(tmp_path / "company", 0) == (True, False)


@pytest.mark.campaign
def test_nine_of_ten_companies_bring_what_the_test_said(tmp_path: Path) -> None:
    found = [play(tmp_path / str(seed), seed) for seed in range(10)]

    assert sum(by_time for by_time, _ in found) >= 9
    assert sum(by_chance for _, by_chance in found) < 9


@pytest.mark.parametrize("counts", [(0, 0, 9, 98), (9, 0, 0, 98)])
def test_an_f1_without_any_spread_says_nothing_about_rows_to_come(
    counts: tuple[int, int, int, int],
) -> None:
    y = np.repeat([1, 0, 1, 0], counts)
    predicted = np.repeat([1, 1, 0, 0], counts)

    measured = metrics.evaluate(y, predicted, predicted.astype(np.float64))

    assert measured.f1 == measured.f1_low == measured.f1_high
    assert metrics.next_interval(measured) is None


def test_as_many_rows_to_come_lie_in_their_interval_in_19_of_20_cases() -> None:
    random = np.random.default_rng(5)
    n_inside = 0
    for _ in range(200):
        y = (random.random((2, 800)) < 0.2).astype(int)
        predicted = np.where(random.random((2, 800)) < 0.75, y, 1 - y)
        measured, following = (
            metrics.evaluate(y[k], predicted[k], predicted[k].astype(float)) for k in (0, 1)
        )
        n_inside += is_inside(measured, following)

    # 95 % of 200, give or take three standard errors.
    assert 181 <= n_inside <= 199
