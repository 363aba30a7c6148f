"""The parts of a cluster's fit, without a cluster: features, split, pickle, merging."""

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from scripts.core.config import Schema, TrainingSettings
from scripts.data import dataset, deduplicate
from scripts.model import fit as model_fit
from scripts.model import logistic_model, newton_solver, sklearn_pipeline
from scripts.model.logistic_model import Model
from scripts.model.sklearn_pipeline import RAW, SCALED
from scripts.spark import dataset as spark_dataset
from scripts.spark import evaluation, fit, statistics
from scripts.spark import features as spark_features
from scripts.spark.features import Terms
from scripts.spark.fit import SparkPlan
from scripts.spark.statistics import PartStatistics
from tests.support.service import make_model

pytest.importorskip("pyspark", reason="PySpark is not installed; pip install '.[spark]'")

SCHEMA = Schema(
    target="left", ids=("id",), numeric=("age", "spent"), categorical=("plan",), minimum={}
)
SETTINGS = TrainingSettings()


def make_table(n_rows: int, seed: int = 1) -> pd.DataFrame:
    """Return clients with missing values, and with two plans below 0.5 % of the rows."""
    random = np.random.default_rng(seed)
    age = random.integers(18, 90, n_rows).astype(float)
    plans = random.choice(
        ["a", "b", "", "rare 1", "rare 2"], n_rows, p=[0.6, 0.3, 0.092, 0.004, 0.004]
    )
    risk = age / 30 - 2 + (plans == "b") + random.normal(size=n_rows)
    return dataset.make_table(
        {
            "id": [f"c{number}" for number in range(n_rows)],
            "age": np.where(random.random(n_rows) < 0.1, np.nan, age),
            "spent": random.normal(1000, 300, n_rows),
            "plan": plans,
            "left": (risk > 0).astype(int),
        },
        SCHEMA,
    )


def describe(table: pd.DataFrame, *, scaled: bool) -> Terms:
    """Find the terms of a table by pandas, as `numeric_terms` does on a cluster."""
    numeric, blank = [], []
    for name in SCHEMA.numeric:
        values = table[name]
        facts = (len(values), int(values.count()), values.mean(), values.std(), values.median())
        mean, scale = spark_features.scale_of(*facts) if scaled else (0.0, 1.0)
        numeric.append(
            logistic_model.NumericTerm(
                column=name, median=facts[4], coefficient=0.0, mean=mean, scale=scale
            )
        )
        blank += [name] if values.isna().mean() > 0.01 else []
    counts = {"plan": dict(table["plan"].value_counts())}
    return Terms(
        numeric=tuple(numeric),
        blank=tuple(blank),
        categorical=spark_features.categorical_terms(counts, len(table)),
    )


@pytest.mark.parametrize("scaled", [False, True])
def test_features_and_fit_are_those_of_the_pandas_engine(scaled: bool) -> None:
    table = make_table(3000)
    X, y = dataset.features(table, SCHEMA), dataset.target(table, SCHEMA)
    pipeline = sklearn_pipeline.make_pipeline(X, SCHEMA, SETTINGS, SCALED if scaled else RAW)
    # scikit-learn stops by default where the sixth digit, lbfgs where the fourth may still change.
    precise = {"regression__solver": "newton-cholesky", "regression__tol": 1e-9}
    pipeline.set_params(**precise).fit(X, y)
    terms = describe(table, scaled=scaled)

    features = spark_features.expand_codes(
        spark_features.encode_rows(table, terms, SCHEMA), spark_features.widths_of(terms)
    )

    assert features == pytest.approx(pipeline["columns"].transform(X), rel=1e-12, abs=1e-12)
    assert features.shape == (3000, spark_features.count_features(terms))
    # In parts, as partitions hold them, and together: the same minimum.
    parts = np.array_split(np.arange(3000), 7)
    weights = newton_solver.go_down(
        lambda w: sum(
            (
                newton_solver.measure_rows(newton_solver.parts_of(features[part], y[part]), w, 1.0)
                for part in parts
            ),
            start=newton_solver.penalise(w),
        ),
        np.zeros(features.shape[1] + 1),
    )
    assert weights is not None
    filled = spark_features.fill_in(terms, weights[:-1])
    assert [t.column for t in filled.numeric if t.missing_coefficient] == ["age"]
    for found, expected in zip(
        filled.numeric, sklearn_pipeline.numeric_terms(pipeline, SCHEMA), strict=True
    ):
        assert msgspec.structs.astuple(found)[1:] == pytest.approx(
            msgspec.structs.astuple(expected)[1:], rel=1e-6
        )
    (categorical,) = sklearn_pipeline.categorical_terms(pipeline, SCHEMA)
    assert filled.categorical[0].effects == pytest.approx(categorical.effects, rel=1e-6)
    assert filled.categorical[0].rare == ("rare 1", "rare 2")


def made_of(terms: Terms, weights: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Model:
    """Make a model of terms."""
    filled = spark_features.fill_in(terms, weights[:-1])
    return msgspec.structs.replace(
        make_model(), schema=SCHEMA, numeric=filled.numeric, categorical=filled.categorical,
        intercept=float(weights[-1]),
    )  # fmt: skip


@pytest.mark.parametrize("scaled", [False, True])
def test_a_pipeline_made_without_rows_says_what_the_plain_numbers_say(scaled: bool) -> None:
    table = make_table(2000)
    terms = describe(table, scaled=scaled)
    weights = np.linspace(-0.5, 0.5, spark_features.count_features(terms) + 1) / 50
    fitted = made_of(terms, weights)

    pipeline = fit.make_pipeline(fitted, terms, 1.0, scaled=scaled)

    sklearn_pipeline.check_equal(fitted, pipeline, table)
    sklearn_pipeline.check_equal(fitted, pipeline, fit.make_examples(fitted))
    strange = table.head(3).assign(plan=["new", "rare 2", ""])
    sklearn_pipeline.check_equal(fitted, pipeline, strange)


def test_a_calibration_is_built_into_the_weights() -> None:
    plan = SparkPlan(scaled=False, threshold=0.5, slope=2.0, offset=-1.0)

    found = fit.apply_calibration(np.array([3.0, -4.0, 0.5]), plan)

    assert found.tolist() == [6.0, -8.0, 0.0]


def test_shares_belong_to_rows_and_not_to_their_order_or_company() -> None:
    table = make_table(20_000)
    shuffled = table.sample(frac=0.3, random_state=3)

    shares = spark_dataset.share_rows(table, SCHEMA, 42)
    again = spark_dataset.share_rows(shuffled.reset_index(drop=True), SCHEMA, 42)

    assert again.tolist() == shares[shuffled.index].tolist()
    # Even: of 20,000 draws a tenth falls below 0.1, give or take four standard deviations.
    assert abs((shares < 0.1).sum() - 2000) < 4 * np.sqrt(1800)
    assert 0 <= shares.min() < shares.max() < 1
    other = spark_dataset.share_rows(table, SCHEMA, 43)
    assert abs(((shares < 0.1) & (other < 0.1)).sum() - 200) < 4 * np.sqrt(200)
    # Nor has it to do with the hashes by which rows are known again.
    hashes = deduplicate.hash_rows(table, SCHEMA)
    assert abs(np.corrcoef(shares, hashes)[0, 1]) < 0.04


def test_a_plan_of_few_rows_has_the_plain_threshold() -> None:
    table = make_table(80).assign(left=[0, 1] * 40)
    sample = table.assign(**{spark_dataset.SHARE: np.linspace(0, 0.999, 80)})

    plan = fit.plan_sample(sample, SCHEMA, SETTINGS)

    assert plan == SparkPlan(scaled=False, threshold=0.5, slope=1.0, offset=0.0)


@pytest.mark.parametrize("gap", [0.0, 400.0])
def test_the_plan_is_what_the_pandas_engine_decides_of_many_rows_on_the_same_split(
    gap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With the gap the columns are of very different sizes, which a penalty without scale feels.
    monkeypatch.setattr(model_fit, "MAX_ROWS_TO_REFIT", 1000)
    table = make_table(4000)
    table["spent"] = table["spent"] * (1e-4 if gap else 1) + table["left"] * gap * 1e-4
    shares = spark_dataset.share_rows(table, SCHEMA, 42)
    sample = table.assign(**{spark_dataset.SHARE: shares}).sort_values(
        spark_dataset.SHARE, ignore_index=True
    )
    is_validation = sample[spark_dataset.SHARE].to_numpy() < SETTINGS.validation_fraction
    X, y = dataset.features(sample, SCHEMA), dataset.target(sample, SCHEMA)
    training_rows = X[~is_validation], y[~is_validation]
    validation_rows = X[is_validation], y[is_validation]

    plan = fit.plan_sample(sample, SCHEMA, SETTINGS)

    expected = model_fit.fit(training_rows, validation_rows, (X, y), SCHEMA, SETTINGS)
    steps = expected.final["columns"].named_transformers_["numeric"]
    assert plan.scaled == isinstance(steps["scale"], StandardScaler)
    assert plan.scaled == bool(gap)
    assert plan.threshold == expected.threshold != 0.5
    assert (plan.slope, plan.offset) == (expected.calibration.slope, expected.calibration.offset)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # Blanks become the median 3: of 1, 3, 8, 3 the mean is 3.75, the variance 6.6875.
        ([1.0, 3.0, 8.0, np.nan], (3.75, np.sqrt(6.6875))),
        ([5.0, 5.0, np.nan], (5.0, 1.0)),
        ([0.0, 0.0], (0.0, 1.0)),
    ],
)
def test_the_scale_counts_medians_in_the_blanks(
    values: list[float], expected: tuple[float, float]
) -> None:
    column = pd.Series(values)

    found = spark_features.scale_of(
        len(column), int(column.count()), column.mean(), column.std(), column.median()
    )

    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("stayed", "left", "expected"),
    [
        ([2, 0], [0, 2], 1.0),
        ([0, 2], [2, 0], 0.0),
        ([1, 1], [1, 1], 0.5),
        # Of the four pairs the leaver is ahead in two, behind in one, level in one.
        ([1, 1, 0], [1, 0, 1], 0.625),
        ([3, 0], [0, 0], None),
    ],
)
def test_the_auc_counts_pairs(stayed: list[int], left: list[int], expected: float | None) -> None:
    assert evaluation.auc_of(np.array([stayed, left])) == expected


def test_moments_of_parts_merge_into_those_of_the_whole() -> None:
    values = np.array([1e9 + 1, 1e9 + 2, 1e9 + 6, 1e9 + 7])
    parts = [
        PartStatistics(
            len(v), {"age": [len(v), 0]},
            {"age": (float(v.mean()), float(((v - v.mean()) ** 2).sum()))}, b"\0\0\0\1",
        )
        for v in (values[:1], values[1:])
    ]  # fmt: skip

    whole = statistics.merge(PartStatistics(0, {}, {}, b""), statistics.merge(*parts))

    assert whole.n_rows == 4
    assert whole.counts == {"age": [4, 0]}
    # Around the mean 4 they are -3, -2, 2 and 3: 26 in squares.
    assert whole.moments["age"] == (1e9 + 4, 26.0)
    assert whole.hashes == b"\0\0\0\1"
