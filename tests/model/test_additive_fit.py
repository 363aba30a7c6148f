"""Additive models: curves, pairs, straight columns, monotone curves, and large tables."""

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from scripts.core.config import Config, Direction, Schema, TrainingSettings
from scripts.core.errors import ConfigError
from scripts.data import dataset
from scripts.model import (
    additive_choice,
    additive_fit,
    additive_terms,
    candidate,
    logistic_model,
    pairs,
)
from scripts.model.additive_choice import Rows
from scripts.model.logistic_model import Columns, Model

SCHEMA = Schema(
    target="left", ids=(), numeric=("age", "use", "noise"), categorical=("plan",), minimum={}
)


def make_table(n_rows: int, seed: int, *, shape: str) -> pd.DataFrame:
    """Return a table whose risk is straight, bent in age, or of age and plan together."""
    random = np.random.default_rng(seed)
    age, use, noise = (
        random.normal(45, 12, n_rows),
        random.gamma(2, 30, n_rows),
        random.random(n_rows),
    )
    plan = random.choice(["basic", "gold", "tin"], n_rows)
    z = (age - 45) / 12
    effects = {
        "straight": 0.8 * z,
        "valley": 1.2 * z**2,
        "pair": np.where(plan == "gold", 1.5, -1.5) * z,
    }
    log_odds = effects[shape] - 0.01 * use - 0.3
    left = (random.random(n_rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    return pd.DataFrame({"age": age, "use": use, "noise": noise, "plan": plan, "left": left})


def fit(config: Config, table: pd.DataFrame, **settings: Any) -> candidate.FittedCandidate:
    """Fit a model to a table."""
    training = msgspec.structs.replace(config.training, **settings)
    used = msgspec.structs.replace(config, schema=SCHEMA, training=training)
    return candidate.fit_candidate(table, "", used)


def auc(fitted: Model, table: pd.DataFrame) -> float:
    """Return the AUC of a model on a table."""
    probability = logistic_model.probabilities(fitted, dataset.feature_arrays(table, SCHEMA))
    return float(roc_auc_score(table["left"], probability))


@pytest.mark.parametrize("seed", range(5))
def test_a_straight_table_gets_a_straight_model(config: Config, seed: int) -> None:
    fitted = fit(config, make_table(2000, seed, shape="straight")).model

    assert fitted.is_straight
    assert [len(term.knots) for term in fitted.numeric] == [2, 2, 2]


def test_a_valley_becomes_a_curve_with_both_ends_above_its_middle(config: Config) -> None:
    table = make_table(3000, 1, shape="valley")

    curved, straight = fit(config, table).model, fit(config, table, model="linear").model

    age = curved.numeric[0]
    middle = np.interp(45, age.knots, age.values)
    assert min(age.values[0], age.values[-1]) > middle + 1
    other = make_table(5000, 2, shape="valley")
    assert auc(curved, other) > auc(straight, other) + 0.1


def test_two_columns_that_act_together_become_a_pair(config: Config) -> None:
    table = make_table(3000, 1, shape="pair")

    fitted = fit(config, table).model

    assert [set(pair.columns) for pair in fitted.pairs] == [{"age", "plan"}]
    other = make_table(5000, 2, shape="pair")
    assert auc(fitted, other) > 0.8 > 0.65 > auc(fit(config, table, model="linear").model, other)


def test_each_curve_and_pair_has_a_mean_of_zero_over_the_training_rows(config: Config) -> None:
    table = make_table(1000, 3, shape="pair")

    fitted = fit(config, table, model="additive").model

    terms = logistic_model.terms(fitted, dataset.feature_arrays(table, SCHEMA))
    assert len(terms) > 4
    assert {key: float(term.mean()) for key, term in terms.items()} == pytest.approx(
        dict.fromkeys(terms, 0.0), abs=1e-9
    )


def test_terms_add_up_to_the_log_odds_and_so_do_halves_of_pairs(config: Config) -> None:
    table = make_table(1000, 3, shape="pair")
    fitted = fit(config, table).model
    columns = dataset.feature_arrays(table, SCHEMA)

    probability = logistic_model.probabilities(fitted, columns)

    log_odds = np.log(probability / (1 - probability))
    for parts in (
        logistic_model.terms(fitted, columns).values(),
        logistic_model.contributions(fitted, columns).values(),
    ):
        assert np.abs(fitted.intercept + sum(parts) - log_odds).max() < 1e-12


def hostile(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows with missing numbers, numbers far outside, and an unknown category."""
    odd = table.head(40).copy()
    odd.loc[:9, "age"] = np.nan
    odd.loc[5:14, "use"] = [1e300, -1e300, 0, np.nan, 1e-300] * 2
    odd.loc[10:19, "plan"] = ["never seen", ""] * 5
    return odd


@pytest.mark.parametrize("shape", ["straight", "valley", "pair"])
@pytest.mark.parametrize("n_missing", [0, 3, 100])
def test_plain_numbers_give_sklearns_probabilities_for_odd_rows_too(
    config: Config, shape: str, n_missing: int
) -> None:
    table = make_table(1000, 5, shape=shape)
    table.loc[table.index[:n_missing], "age"] = np.nan
    table.loc[::400, "plan"] = "rare"

    fitted = fit(config, table, model="additive")

    for rows in (table, hostile(table)):
        ours = logistic_model.probabilities(fitted.model, dataset.feature_arrays(rows, SCHEMA))
        theirs = fitted.estimator.predict_proba(dataset.features(rows, SCHEMA))[:, 1]
        assert np.abs(ours - theirs).max() <= 1e-12


def test_outside_of_the_training_rows_a_curve_is_constant(config: Config) -> None:
    table = make_table(1000, 5, shape="valley")
    term = fit(config, table).model.numeric[0]

    effects = logistic_model.numeric_effects(term, np.array([-1e6, -500.0, 500.0, 1e6]))

    assert effects.tolist() == [term.values[0]] * 2 + [term.values[-1]] * 2


@pytest.mark.parametrize("direction", ["increasing", "decreasing"])
def test_a_declared_direction_is_exact(config: Config, direction: Direction) -> None:
    table = make_table(2000, 7, shape="valley")

    fitted = fit(config, table, monotone={"age": direction}).model

    sign = 1 if direction == "increasing" else -1
    grid = np.linspace(-10, 120, 5001)
    effects = logistic_model.numeric_effects(fitted.numeric[0], grid)
    assert (sign * np.diff(effects) >= -1e-15).all()
    assert (sign * np.diff(fitted.numeric[0].values) >= 0).all()
    assert np.ptp(effects) > 0.5


def test_a_monotone_column_enters_no_pair(config: Config) -> None:
    table = make_table(3000, 1, shape="pair")

    assert fit(config, table, monotone={"age": "increasing"}).model.pairs == ()


def test_a_monotone_column_must_be_a_number_of_the_schema(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"names \['plan'\]; expected some of .*'age'"):
        fit(config, make_table(300, 1, shape="pair"), monotone={"plan": "increasing"})


def test_the_same_rows_give_the_same_bytes(config: Config) -> None:
    table = make_table(1500, 9, shape="pair")

    first, second = (logistic_model.encode_model(fit(config, table).model) for _ in range(2))

    assert first == second


def test_below_50_rows_of_a_class_curves_are_fitted_only_on_demand(config: Config) -> None:
    table = make_table(3000, 1, shape="valley")
    few = pd.concat([table[table["left"] == 0].head(100), table[table["left"] == 1].head(45)])

    usual, wanted = fit(config, few).model, fit(config, few, model="additive").model

    assert [term.knots for term in usual.numeric] == [()] * 3
    assert len(wanted.numeric[0].knots) > 2
    assert usual.threshold == wanted.threshold == 0.5


def test_few_leavers_get_curves_only_where_cross_validation_gains(config: Config) -> None:
    bent, straight = (make_table(400, 11, shape=shape) for shape in ("valley", "straight"))

    assert not fit(config, bent).model.is_straight
    assert fit(config, straight).model.is_straight


def test_a_column_without_values_or_with_one_value_adds_nothing(config: Config) -> None:
    table = make_table(600, 1, shape="straight")
    table["noise"], table["use"] = np.nan, 7.0

    fitted = fit(config, table, model="additive")

    columns = dataset.feature_arrays(table, SCHEMA)
    terms = logistic_model.terms(fitted.model, columns)
    assert np.abs(terms["use",]).max() == 0
    assert np.abs(terms["noise",]).max() < 1e-9


def as_rows(table: pd.DataFrame) -> Rows:
    """Return the features and the target of a table."""
    return Rows(dataset.feature_arrays(table, SCHEMA), dataset.target(table, SCHEMA))


def log_odds(fitted: additive_fit.AdditiveFit, columns: Columns) -> Any:
    """Return the log-odds of the exported terms."""
    return additive_fit.log_odds_of(fitted, columns)


def test_passes_over_all_rows_give_the_coefficients_of_newtons_method() -> None:
    table = make_table(12_000, 4, shape="pair")
    rows, sample = as_rows(table), as_rows(table.head(4000))
    axes = additive_fit.make_axes(sample.columns, SCHEMA, rows.columns)
    planned, _ = additive_fit.fit_additive(axes, sample.columns, sample.y)

    quick = additive_fit.fit_all_rows(planned, rows.columns, rows.y, len(sample.y))
    exact, _ = additive_fit.fit_again(planned, rows.columns, rows.y)

    assert len(planned.layout.terms) > 4
    difference = log_odds(quick, rows.columns) - log_odds(exact, rows.columns)
    assert np.sqrt(np.mean(difference**2)) < 1e-3


def test_a_large_table_is_planned_on_a_sample_with_enough_of_the_rarer_class() -> None:
    y = np.zeros(200_000, dtype=np.int64)
    y[:10_000] = 1
    rows = Rows({"a": np.arange(200_000.0)}, y)

    sample = additive_choice.draw_sample(rows, TrainingSettings())

    assert len(sample.y) == 40_000
    assert sample.y.sum() == pytest.approx(2000, rel=0.1)


def test_columns_that_add_up_seldom_seem_to_act_together() -> None:
    n_found = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        # Many small cells: 8 x 8 of 800 rows, a tenth of them leavers.
        cells = {name: pairs.Cells(random.integers(0, 8, 800), 8) for name in "abcd"}
        residual = np.where(random.random(800) < 0.1, 0.9, -0.1)
        n_found += bool(pairs.test_pairs(cells, residual, np.full(800, 0.09), set()))

    # Of 40 draws with a chance of 0.05 each, 8 or more are seen once in two thousand times.
    assert n_found < 8


def test_what_a_pair_says_of_one_column_moves_to_that_column() -> None:
    grid = np.array([[1.0, 3.0], [2.0, 4.0]])

    pure, first, second = additive_terms.purify(grid, np.ones((2, 2)))

    # 1 + 2 j + i is a sum of its rows and columns: nothing of it is left.
    assert np.abs(pure).max() < 1e-12
    assert first[:, np.newaxis] + second == pytest.approx(grid)


def test_c_below_one_strengthens_the_penalties(config: Config) -> None:
    table = make_table(400, 3, shape="straight")

    usual, strong = (fit(config, table, model="linear", C=c).model for c in (1.0, 0.001))

    assert np.ptp(strong.numeric[0].values) < 0.5 * np.ptp(usual.numeric[0].values)


def test_a_value_that_is_missing_by_chance_counts_as_the_mean_of_the_known_ones(
    config: Config,
) -> None:
    """An earlier penalty let the intercept make up for it, and fitted the noise of few rows."""
    table = make_table(600, 7, shape="straight")
    random = np.random.default_rng(3)
    for name in ("use", "noise", "age"):
        table.loc[random.random(len(table)) < 0.04, name] = np.nan

    fitted = fit(config, table, model="linear").model

    terms = logistic_model.terms(fitted, dataset.feature_arrays(table, SCHEMA))
    distances = [
        abs(float(terms[(name,)][missing].mean() - terms[(name,)][~missing].mean()))
        for name in ("use", "noise", "age")
        for missing in [table[name].isna().to_numpy()]
    ]
    assert max(distances) < 0.2
