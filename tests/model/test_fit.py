"""Fits: missing values, rare categories, formats, and equal probabilities of scikit-learn."""

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from scripts.core.config import Config, Schema, TrainingSettings
from scripts.data import dataset
from scripts.model import (
    candidate,
    decision_threshold,
    logistic_model,
    metrics,
)

SETTINGS = TrainingSettings()
SCHEMA = Schema(target="left", ids=(), numeric=("a", "b"), categorical=("c",), minimum={})


def make_table(n_rows: int, seed: int, **columns: Any) -> pd.DataFrame:
    """Return a table with exits by the columns a and c, with noise."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=n_rows), random.normal(size=n_rows)
    c = random.choice(["x", "y", "z"], n_rows)
    chance = 1 / (1 + np.exp(-(a + (c == "x") - 1)))
    left = (random.random(n_rows) < chance).astype(np.int64)
    return pd.DataFrame({"a": a, "b": b, "c": c, "left": left} | columns)


def fit(config: Config, table: pd.DataFrame, schema: Schema = SCHEMA) -> logistic_model.Model:
    """Fit a model to a table."""
    return candidate.fit_candidate(table, "", msgspec.structs.replace(config, schema=schema)).model


def blanks(n_rows: int, n_blank: int) -> np.ndarray[Any, Any]:
    """Return numbers with the first rows missing, spread over the table."""
    values = np.arange(n_rows, dtype=np.float64) % 7
    values[:: n_rows // n_blank] = np.nan
    return values


def test_blanks_that_tell_of_leaving_are_learnt_and_stay_in_their_columns_term(
    config: Config,
) -> None:
    table = make_table(1000, 2)
    table.loc[(table["left"] == 1) & (table.index % 2 == 0), "b"] = np.nan

    fitted = fit(config, table)

    columns = {
        "a": np.zeros(2),
        "b": np.array([np.nan, fitted.numeric[1].median]),
        "c": np.array(["x", "x"]),
    }
    blank, median = logistic_model.contributions(fitted, columns)["b"]
    assert blank == fitted.numeric[1].missing_coefficient
    assert blank - median > 2


def test_rare_categories_share_one_coefficient_and_unknown_ones_add_nothing(
    config: Config,
) -> None:
    # Two rows and one row are fewer than three.
    c = np.array(["x", "y"] * 500, dtype=object)
    c[10:12], c[20:21] = "rare 1", "rare 2"
    table = make_table(1000, 3, c=c)

    (term,) = fit(config, table).categorical

    assert term.categories == ("x", "y")
    assert term.rare == ("rare 1", "rare 2")
    assert term.rare_coefficient != 0
    effects = logistic_model.category_effects(
        term, np.array([*term.rare, "unheard of"], dtype=object)
    )
    assert effects.tolist() == [term.rare_coefficient] * len(term.rare) + [0.0]


def test_unknown_categories_are_counted_and_rare_ones_are_not(config: Config) -> None:
    c = np.array(["x", "y"] * 500, dtype=object)
    c[10:14] = "rare"
    fitted = fit(config, make_table(1000, 3, c=c))

    counted = logistic_model.count_unknown(
        fitted, {"c": np.array(["x", "rare", "new", "newer", "new", ""], dtype=object)}
    )

    assert counted == {"c": 4}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e9])
def test_plain_numbers_give_sklearns_probabilities(config: Config, seed: int, scale: float) -> None:
    c = np.random.default_rng(seed).choice(["x", "y", "", "r"], 2000, p=[0.5, 0.3, 0.197, 0.003])
    table = make_table(2000, seed, c=c, b=blanks(2000, 100) * scale)
    table["a"] *= scale
    used = msgspec.structs.replace(config, schema=SCHEMA)

    fitted = candidate.fit_candidate(table, "", used)

    theirs = fitted.estimator.predict_proba(dataset.features(table, SCHEMA))[:, 1]
    read = logistic_model.decode_model(
        logistic_model.encode_model(fitted.model), config.prod_deployment_path
    )
    ours = logistic_model.probabilities(read, dataset.feature_arrays(table, SCHEMA))
    assert np.abs(ours - theirs).max() <= 1e-12


def test_a_blank_weighs_less_until_many_rows_speak_for_it(config: Config) -> None:
    # Of leavers twice as many are blank: log-odds of about 0.7 more.
    coefficients = []
    for n_rows in (500, 50_000):
        table = make_table(n_rows, 8)
        chance = np.where(table["left"] == 1, 0.04, 0.02)
        gone = np.random.default_rng(2).random(n_rows) < chance
        coefficients.append(fit(config, table.assign(b=table["b"].mask(gone))).numeric[1])

    few, many = (term.missing_coefficient for term in coefficients)
    assert abs(few) < np.log(2)
    assert many == pytest.approx(np.log(2), abs=0.2)


def test_columns_of_very_different_sizes_converge(config: Config) -> None:
    table = make_table(60, 5)
    table["b"] = 1e15 + np.arange(60) * 1e12

    fitted = fit(config, table)

    assert np.isfinite(logistic_model.plain_numbers(fitted)).all()


def test_f1_at_thresholds_worked_out_by_hand() -> None:
    y, probability = np.array([1, 0, 1, 0]), np.array([0.9, 0.6, 0.4, 0.1])

    f1 = decision_threshold.f1_at(np.array([0.0, 0.4, 0.5, 0.9, 0.95]), y, probability)

    # All said: 2/4 right; three said: 2 of 3; two said: 1 of 2; one said, which is right; none.
    assert f1 == pytest.approx([2 * 2 / 6, 2 * 2 / 5, 2 / 4, 2 / 3, 0.0])


def test_brier_score_and_calibration_error_worked_out_by_hand() -> None:
    y, probability = np.array([1, 0, 1, 1]), np.array([1.0, 0.25, 0.25, 0.05])

    assert metrics.brier_score(y, probability) == pytest.approx((0 + 0.0625 + 0.5625 + 0.9025) / 4)
    # Bins 9, 2 (mean 0.25, share 0.5) and 0 (mean 0.05, share 1).
    assert metrics.expected_calibration_error(y, probability) == pytest.approx(
        0 + 2 / 4 * 0.25 + 1 / 4 * 0.95
    )


def test_a_model_of_the_first_format_is_read_as_it_was_meant(config: Config) -> None:
    spelled = msgspec.json.decode(logistic_model.encode_model(fit(config, make_table(300, 10))))
    spelled["format"] = 1
    for term in spelled["numeric"]:
        for key in ("missing_coefficient", "mean", "scale"):
            term.pop(key)
    for term in spelled["categorical"]:
        term.pop("rare"), term.pop("rare_coefficient")

    read = logistic_model.decode_model(msgspec.json.encode(spelled), config.prod_deployment_path)

    assert [(t.mean, t.scale, t.missing_coefficient) for t in read.numeric] == [(0, 1, 0)] * 2
