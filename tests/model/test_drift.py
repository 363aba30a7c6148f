"""Drift of a dataset against the reference of a model: rows, differences, effect on the risk."""

import msgspec
import numpy as np
import pandas as pd
import pytest

from benchmarks import drift as benchmarks_drift
from benchmarks.drift import SCHEMA, accumulate, draw, make_model
from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.data import client_dates
from scripts.data.profile import Moments
from scripts.model import drift, reference
from scripts.model.drift import ColumnDrift, ColumnRole, DataDrift, align
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm

RANDOM_SEED = 20


@pytest.fixture
def before() -> pd.DataFrame:
    """The training rows of a model: a thousand clients."""
    return draw(np.random.default_rng(RANDOM_SEED), 1000)


@pytest.fixture
def later() -> pd.DataFrame:
    """Five hundred new clients of the same distribution."""
    return draw(np.random.default_rng(RANDOM_SEED + 1), 500)


def column_of(found: DataDrift, name: str) -> ColumnDrift:
    """Find a column."""
    return next(column for column in found.columns if column.column == name)


def test_only_the_rows_that_are_new_are_compared(before: pd.DataFrame, later: pd.DataFrame) -> None:
    found = drift.compare_data(accumulate(before, later), make_model(before))

    assert (found.n_reference_rows, found.n_rows, found.n_compared) == (1000, 1500, 500)
    assert found.rows == "new"
    assert found.drifted == ()


def test_the_dataset_of_the_model_itself_has_nothing_to_compare(before: pd.DataFrame) -> None:
    found = drift.compare_data(before, make_model(before))

    assert found.n_compared == found.n_tests == 0
    assert {column.values for column in found.columns} == {None}
    assert {column.effect for column in found.columns} == {0.0}
    assert column_of(found, "balance").summary.mean == pytest.approx(before["balance"].mean())


def test_a_shifted_column_drifts_and_no_other(before: pd.DataFrame, later: pd.DataFrame) -> None:
    table = accumulate(before, later.assign(balance=later["balance"] + 0.5))

    found = drift.compare_data(table, make_model(before))

    assert [column.column for column in found.drifted] == ["balance"]
    column = found.drifted[0]
    expected = later["balance"].mean() + 0.5 - before["balance"].mean()
    assert column.shift == pytest.approx(expected / before["balance"].std())
    assert column.risk is not None
    assert column.risk.mean == pytest.approx(0.01 * expected)


def test_a_wider_column_drifts_although_its_mean_stays(
    before: pd.DataFrame, later: pd.DataFrame
) -> None:
    table = accumulate(before, later.assign(balance=later["balance"] * 2))

    found = drift.compare_data(table, make_model(before))

    column = column_of(found, "balance")
    assert column.has_drifted
    assert column.risk is not None
    assert column.risk.effect > 0.009 > abs(column.risk.mean)


def test_more_blanks_are_drift(before: pd.DataFrame, later: pd.DataFrame) -> None:
    year = later["lastyear_activity"].where(np.arange(500) % 10 != 0)
    table = accumulate(before, later.assign(lastyear_activity=year))

    found = drift.compare_data(table, make_model(before))

    column = column_of(found, "lastyear_activity")
    assert [c.column for c in found.drifted] == ["lastyear_activity"]
    assert column.missing is not None
    assert column.missing.is_drift
    assert column.missing.difference == pytest.approx(
        year.isna().mean() - before["lastyear_activity"].isna().mean()
    )
    assert column.values is not None
    assert not column.values.is_drift


def test_blanks_of_a_change_since_the_row_before_are_no_drift(
    before: pd.DataFrame, later: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of a first extract every row is without a row before, and of no later one.
    monkeypatch.setattr(client_dates, "change_of", lambda name: name)
    first = before.assign(balance=before["balance"].where(before.index >= 400))
    model = make_model(first)
    dated = msgspec.structs.replace(
        model, schema=msgspec.structs.replace(model.schema, changes=("balance",))
    )

    plain = drift.compare_data(accumulate(first, later), model)
    changes = drift.compare_data(accumulate(first, later), dated)

    assert [column.column for column in plain.drifted] == ["balance"]
    assert changes.drifted == ()
    assert column_of(changes, "balance").values is not None


def test_a_column_that_comes_without_any_value_is_drift_by_its_blanks(
    before: pd.DataFrame, later: pd.DataFrame
) -> None:
    found = drift.compare_data(accumulate(before, later.assign(balance=np.nan)), make_model(before))

    column = column_of(found, "balance")
    assert column.has_drifted
    assert column.values is None
    assert column.shift is None


@pytest.mark.parametrize("plan", ["pro", "unheard of", ""])
def test_other_categories_are_drift(before: pd.DataFrame, later: pd.DataFrame, plan: str) -> None:
    table = accumulate(before, later.assign(plan=np.where(np.arange(500) % 5, later["plan"], plan)))

    found = drift.compare_data(table, make_model(before))

    assert [column.column for column in found.drifted] == ["plan"]
    assert found.drifted[0].kind is ColumnRole.CATEGORICAL


def test_another_share_of_exits_is_drift_of_the_target(
    before: pd.DataFrame, later: pd.DataFrame
) -> None:
    exited = (np.arange(500) % 2).astype(np.int64)

    found = drift.compare_data(accumulate(before, later.assign(exited=exited)), make_model(before))

    assert [column.column for column in found.drifted] == ["exited"]
    column = found.drifted[0]
    assert column.values is not None
    assert column.values.difference == pytest.approx(abs(0.5 - before["exited"].mean()))


def with_coefficients(used: Model, **coefficients: float) -> Model:
    """Return the model with new coefficients and the matching reference."""
    terms = tuple(
        NumericTerm(column=t.column, median=t.median, coefficient=coefficients.get(t.column, 0.0))
        for t in used.numeric
    )
    return msgspec.structs.replace(used, numeric=terms)


def test_what_matters_for_the_risk_comes_first(before: pd.DataFrame, later: pd.DataFrame) -> None:
    """Both columns drift, and the column without a coefficient comes last."""
    moved = later.assign(
        balance=later["balance"] + 2, lastmonth_activity=later["lastmonth_activity"] + 30
    )
    used = with_coefficients(make_model(before), lastmonth_activity=0.02)
    used = reference.add_reference(used, before)

    found = drift.compare_data(accumulate(before, moved), used)

    names = [column.column for column in found.drifted]
    assert names == ["lastmonth_activity", "balance"]
    assert column_of(found, "balance").effect == 0.0
    assert found.drifted[0].risk is not None
    assert found.drifted[0].risk.mean == pytest.approx(0.02 * 30, abs=0.15)


def test_the_effect_by_hand() -> None:
    """Means 3 apart, standard deviations 4 apart: 5."""
    before = Moments(mean=1.0, standard_deviation=2.0)

    risk = drift.shift_risk(before, Moments(mean=-2.0, standard_deviation=6.0))

    assert (risk.mean, risk.effect) == (-3.0, 5.0)


def test_without_identifiers_all_rows_are_compared(
    before: pd.DataFrame, later: pd.DataFrame
) -> None:
    """Duplicates are dropped, hence new rows alone would be unusual."""
    schema = Schema(ids=(), numeric=SCHEMA.numeric, categorical=SCHEMA.categorical)
    used = msgspec.structs.replace(make_model(before), schema=schema)

    found = drift.compare_data(accumulate(before, later), used)

    assert found.rows == "all"
    assert found.n_compared == 1500


def test_a_model_without_a_reference_gets_statistics_only(before: pd.DataFrame) -> None:
    used = make_model(before)
    facts = msgspec.structs.replace(used.dataset, reference=None)

    found = drift.compare_data(before, msgspec.structs.replace(used, dataset=facts))

    assert found.rows == "none"
    assert column_of(found, "is_new").summary.median == 0.0
    assert found.drifted == ()


def test_a_table_without_a_column_of_the_model_is_refused(before: pd.DataFrame) -> None:
    with pytest.raises((DatasetError, KeyError), match="balance"):
        drift.compare_data(before.drop(columns="balance"), make_model(before))


def test_the_limit_grows_with_the_number_of_columns(
    before: pd.DataFrame, later: pd.DataFrame
) -> None:
    found = drift.compare_data(accumulate(before, later), make_model(before))

    # Five numbers, of which three have blanks, one text and the target.
    assert found.n_tests == 5 + 3 + 1 + 1


def test_categories_of_either_side_are_counted_in_the_same_order() -> None:
    before, now = align({"b": 3, "a": 1}, np.array(["c", "b", "c"], dtype=object))

    assert before.tolist() == [1, 3, 0]
    assert now.tolist() == [0, 1, 2]


def test_a_column_as_a_row_has_every_number_by_name(before: pd.DataFrame) -> None:
    row = column_of(drift.compare_data(before, make_model(before)), "plan").as_row()

    assert row["column"] == "plan"
    assert row["kind"] == "categorical"
    assert row["missing_fraction"] == 0.0
    assert row["mean"] is row["drift"] is row["effect"] is None


@pytest.mark.parametrize(("n_before", "n_now"), [(50, 50), (500, 100), (100, 500)])
def test_without_drift_less_than_five_percent_of_the_runs_report_any(
    n_before: int, n_now: int
) -> None:
    """Forty runs with a true rate of 1 % have more than four alarms once in 20,000."""
    rates = benchmarks_drift.simulate_runs(40, n_before, n_now, None)

    assert rates.n_alarms <= 4


@pytest.mark.parametrize("column", ["balance", "number_of_employees"])
def test_half_a_standard_deviation_is_found_in_500_rows(column: str) -> None:
    assert benchmarks_drift.simulate_runs(8, 500, 500, column).share == 1.0


@pytest.mark.campaign
@pytest.mark.parametrize("n_rows", [50, 500, 5000])
def test_1000_runs_without_drift_report_it_in_at_most_five_percent(n_rows: int) -> None:
    rates = benchmarks_drift.simulate_runs(1000, n_rows, n_rows, None)

    print(f"{n_rows} rows then {n_rows} new, no drift: {rates.n_alarms} alarms in 1,000 runs")
    assert rates.share <= 0.05


def test_categorical_effects_come_from_the_models_coefficients(before: pd.DataFrame) -> None:
    used = make_model(before)
    later = before.assign(corporation=[f"n{i}" for i in range(1000)], plan="pro")

    found = drift.compare_data(accumulate(before, later), used)

    assert used.categorical == (
        CategoricalTerm(column="plan", categories=("basic", "pro"), coefficients=(0.1, -0.2)),
    )
    shares = before["plan"].value_counts(normalize=True)
    mean = 0.1 * shares["basic"] - 0.2 * shares["pro"]
    risk = column_of(found, "plan").risk
    assert risk is not None
    assert risk.mean == pytest.approx(-0.2 - mean)
