"""Fits: missing values, rare categories, scale, threshold, calibration."""

import pickle
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scripts.core.config import Config, Schema, TrainingSettings
from scripts.data import dataset
from scripts.model import (
    calibration,
    candidate,
    decision_threshold,
    logistic_model,
    metrics,
    model_selection,
    newton_solver,
    sklearn_pipeline,
)
from scripts.model import fit as model_fit
from scripts.model.calibration import Calibration
from scripts.model.sklearn_pipeline import RAW, SCALED, STANDARD, FeatureSettings

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


def make_standard() -> Pipeline:
    """Return the regression of scikit-learn's user guide for the columns of the tests."""
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    categorical = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer((numeric, ["a", "b"]), (categorical, ["c"]))
    return make_pipeline(columns, LogisticRegression(max_iter=5000))


def blank_some(table: pd.DataFrame, *, tells: bool) -> pd.DataFrame:
    """Blank b in a sixth of the rows, or in the rows of three in four leavers."""
    drawn = np.random.default_rng(1).random(len(table))
    gone = (drawn < 0.75) & (table["left"] == 1) if tells else drawn < 1 / 6
    return table.assign(b=table["b"].mask(gone))


@pytest.mark.parametrize(
    ("tells", "faint", "expected"), [(False, ("b",), STANDARD), (True, (), SCALED)]
)
def test_blanks_count_and_move_the_threshold_only_when_they_tell_of_leaving(
    tells: bool, faint: tuple[str, ...], expected: FeatureSettings
) -> None:
    table = blank_some(make_table(1000, 7), tells=tells)
    X, y = dataset.features(table, SCHEMA), dataset.target(table, SCHEMA)

    rows, others = (X[:900], y[:900]), (X[900:], y[900:])

    fitted, form = model_selection.fit_scaled(rows, SCHEMA, SETTINGS)

    assert form == FeatureSettings(scaled=True, faint=faint)
    weight = sklearn_pipeline.FAINT_INDICATOR_WEIGHT if faint else sklearn_pipeline.INDICATOR_WEIGHT
    assert sklearn_pipeline.missing_indicators(fitted) == {"b": weight}
    chosen = model_selection.choose_for_threshold(form, fitted, rows, others, SCHEMA, SETTINGS)
    assert chosen == expected


def test_the_evidence_of_blanks_is_pearsons_chi_square_where_nothing_else_tells() -> None:
    # Of 100 leavers 60 are blank, of 100 others 45; a says nothing, c is the same for all.
    left = np.repeat([1, 0], 100)
    b = np.where(np.arange(200) % 100 < np.where(left == 1, 60, 45), np.nan, 1.0)
    X = pd.DataFrame({"a": np.tile([0.0, 1.0], 100), "b": b, "c": "x"})
    form = FeatureSettings(scaled=True, faint=("b",))
    fitted = sklearn_pipeline.make_pipeline(X, SCHEMA, SETTINGS, form).fit(X, left)

    evidence = model_selection.evidence_of_blanks(fitted, (X, left), SETTINGS)

    # (60 * 55 - 40 * 45)^2 * 200 / (100 * 100 * 105 * 95) by hand; the faint indicator has taken a
    # hundredth of it already.
    assert evidence == {"b": pytest.approx(4.511, rel=0.03)}


def test_blanks_in_every_row_tell_nothing() -> None:
    table = make_table(200, 4, b=np.nan)
    X, y = dataset.features(table, SCHEMA), dataset.target(table, SCHEMA)
    form = FeatureSettings(scaled=True, faint=("b",))
    fitted = sklearn_pipeline.make_pipeline(X, SCHEMA, SETTINGS, form).fit(X, y)

    assert model_selection.evidence_of_blanks(fitted, (X, y), SETTINGS) == {"b": 0.0}


def test_blanks_without_meaning_are_believed_about_once_in_a_hundred_times() -> None:
    n_believed = 0
    for seed in range(100):
        table = make_table(200, seed)
        gone = np.random.default_rng(1000 + seed).random(200) < 0.3
        X = dataset.features(table.assign(b=table["b"].mask(gone)), SCHEMA)
        _, form = model_selection.fit_scaled((X, dataset.target(table, SCHEMA)), SCHEMA, SETTINGS)
        n_believed += form.faint == ()

    # Of 100 draws with a chance of 0.01 each, 6 or more are seen once in two thousand times.
    assert n_believed < 6


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


@pytest.mark.parametrize("form", [RAW, SCALED, STANDARD])
@pytest.mark.parametrize("seed", range(4))
def test_the_threshold_is_the_one_that_scikit_learn_tunes(seed: int, form: FeatureSettings) -> None:
    table = make_table(400 + 37 * seed, seed)
    X, y = dataset.features(table, SCHEMA), dataset.target(table, SCHEMA)
    held_out = decision_threshold.predict_held_out(X, y, SCHEMA, SETTINGS, form)
    assert held_out is not None

    ours = decision_threshold.best_threshold(y, held_out)

    pipeline = sklearn_pipeline.make_pipeline(X, SCHEMA, SETTINGS, form)
    theirs = TunedThresholdClassifierCV(pipeline, scoring="f1", cv=5).fit(X, y)
    assert ours == pytest.approx(theirs.best_threshold_, abs=1e-12)


def test_f1_at_thresholds_worked_out_by_hand() -> None:
    y, probability = np.array([1, 0, 1, 0]), np.array([0.9, 0.6, 0.4, 0.1])

    f1 = decision_threshold.f1_at(np.array([0.0, 0.4, 0.5, 0.9, 0.95]), y, probability)

    # All said: 2/4 right; three said: 2 of 3; two said: 1 of 2; one said, which is right; none.
    assert f1 == pytest.approx([2 * 2 / 6, 2 * 2 / 5, 2 / 4, 2 / 3, 0.0])


def test_a_calibration_is_found_pays_and_keeps_every_answer() -> None:
    random = np.random.default_rng(6)
    truth = random.normal(size=20_000)
    y = (random.random(20_000) < logistic_model.sigmoid(truth)).astype(np.int64)
    too_sure = 3 * truth + 1

    found = calibration.calibrate(y, too_sure)

    assert found.slope == pytest.approx(1 / 3, abs=0.02)
    assert found.offset == pytest.approx(-1 / 3, abs=0.05)
    assert calibration.does_pay(y, too_sure, found)
    threshold = calibration.shift_threshold(0.7, found)
    before = logistic_model.sigmoid(too_sure) >= 0.7
    after = logistic_model.sigmoid(found.slope * too_sure + found.offset) >= threshold
    assert (before == after).all()


@pytest.mark.parametrize(
    "found", [Calibration(), Calibration(-1.0, 0.0), Calibration(0.3, 0.0), Calibration(1.001, 0.0)]
)
def test_a_calibration_that_does_not_lower_the_brier_score_is_left_out(
    found: Calibration,
) -> None:
    random = np.random.default_rng(7)
    log_odds = random.normal(size=500)
    y = (random.random(500) < logistic_model.sigmoid(log_odds)).astype(np.int64)

    assert not calibration.does_pay(y, log_odds, found)


def test_a_calibration_becomes_part_of_the_coefficients() -> None:
    table = make_table(300, 8)
    X, y = dataset.features(table, SCHEMA), dataset.target(table, SCHEMA)
    pipeline = sklearn_pipeline.make_pipeline(X, SCHEMA, SETTINGS, RAW).fit(X, y)
    before = pipeline.decision_function(X)

    calibration.apply(pipeline, Calibration(0.5, 0.25))

    assert pipeline.decision_function(X) == pytest.approx(0.5 * before + 0.25)


def test_how_right_the_probabilities_are_is_recorded(config: Config) -> None:
    fitted = fit(config, make_table(2000, 9))

    assert 0 < float(fitted.validation["brier"] or 0) < 0.25
    assert 0 <= float(fitted.validation["expected_calibration_error"] or 0) < 0.15
    assert fitted.validation["calibration_slope"] == 1


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


def fit_many_as(monkeypatch: pytest.MonkeyPatch, table: pd.DataFrame, n_many: int) -> model_fit.Fit:
    """Fit as above the size of a large table."""
    monkeypatch.setattr(sklearn_pipeline, "MANY_ROWS", n_many)
    monkeypatch.setattr(model_fit, "N_ROWS_TO_PLAN", 2_000)
    monkeypatch.setattr(model_fit, "MAX_ROWS_TO_REFIT", 0)
    X, y = dataset.features(table, SCHEMA), dataset.target(table, SCHEMA)
    return model_fit.fit((X[:4_000], y[:4_000]), (X[4_000:], y[4_000:]), (X, y), SCHEMA, SETTINGS)


def test_a_scaled_model_without_blanks_is_the_standard_one_to_the_last_bit() -> None:
    table = make_table(1_000, 6)
    X, y = dataset.features(table, SCHEMA), dataset.target(table, SCHEMA)
    standard = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["a", "b"]),
            (OneHotEncoder(handle_unknown="ignore"), ["c"]),
        ),
        LogisticRegression(max_iter=5000),
    ).fit(X, y)

    ours = sklearn_pipeline.fit_pipeline(X, y, SCHEMA, SETTINGS, SCALED)

    assert ours is not None
    assert ours.decision_function(X).tolist() == standard.decision_function(X).tolist()


def test_very_many_rows_give_the_coefficients_of_few_and_nearly_their_threshold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = make_table(5_000, 3)

    usual = fit_many_as(monkeypatch, table, 10_000)
    many = fit_many_as(monkeypatch, table, 1_000)

    X, y = dataset.features(table, SCHEMA), dataset.target(table, SCHEMA)
    # scikit-learn's default tolerance leaves an error of 4e-4 here.
    precise = LogisticRegression(solver="newton-cholesky", tol=1e-10)
    precise.fit(many.validated["columns"].transform(X[:4_000]), y[:4_000])
    assert many.validated["regression"].coef_ == pytest.approx(precise.coef_, rel=1e-6)
    assert usual.validated["regression"].coef_ == pytest.approx(precise.coef_, rel=1e-3)
    assert many.threshold == pytest.approx(usual.threshold, abs=0.1)
    again = pickle.loads(pickle.dumps(many.validated))
    assert again.predict_proba(X).tolist() == many.validated.predict_proba(X).tolist()
    assert again.predict(X).tolist() == (again.predict_proba(X)[:, 1] > 0.5).astype(int).tolist()


def test_a_class_too_rare_for_a_sample_is_planned_with_all_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sklearn_pipeline, "MANY_ROWS", 1_000)
    monkeypatch.setattr(model_fit, "N_ROWS_TO_PLAN", 200)
    X = pd.DataFrame({"a": np.arange(5_000.0)})
    y = (np.arange(5_000) % 50 == 0).astype(np.int64)

    assert len(model_fit.draw_sample(X, y, SETTINGS)[1]) == 5_000
    assert len(model_fit.draw_sample(X, 1 - X.index.to_numpy() % 2, SETTINGS)[1]) == 200
    assert len(model_fit.draw_sample(X[:1_000], y[:1_000], SETTINGS)[1]) == 1_000


def test_what_newton_cannot_fit_is_left_to_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newton_solver, "fit", lambda X, y, C: None)

    fitted = fit_many_as(monkeypatch, make_table(5_000, 3), 1_000)

    assert fitted.validated["regression"].n_iter_[0] > 1
