"""Training in passes over chunks equals training on a table, in memory and in a file."""

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from scripts import training
from scripts.core import capacity
from scripts.core.capacity import ExecutionMode
from scripts.core.config import Config, EngineSettings, Schema, TrainingSettings
from scripts.core.errors import DatasetError, InsufficientDataError
from scripts.data import chunk_store, chunked_dataset, csv_blocks, csv_writer, deduplicate, profile
from scripts.data.chunk_store import Passes
from scripts.model import (
    candidate,
    chunked_fit,
    logistic_model,
    newton_solver,
    reference,
    sklearn_pipeline,
)
from scripts.model import fit as model_fit
from scripts.model.candidate import Candidate

SCHEMA = Schema(
    ids=("id",), numeric=("months", "balance"), categorical=("plan", "city"), target="left"
)


def make_table(n_rows: int, seed: int = 0) -> pd.DataFrame:
    """Make clients with blanks, fractions, rare categories and a risk that depends on them."""
    draw = np.random.default_rng(seed)
    months = draw.integers(0, 60, n_rows)
    balance = np.round(draw.lognormal(5, 1, n_rows), 2)
    balance[draw.random(n_rows) < 0.05] = np.nan
    plan = draw.choice(["", "basic", "gold", "plus"], n_rows, p=[0.1, 0.5, 0.1, 0.3])
    city = draw.choice([f"c{n}" for n in range(400)], n_rows)
    city = np.where(draw.random(n_rows) < 0.5, "big", city)
    log_odds = 1 - 0.06 * months + 0.8 * (plan == "gold") + 0.3 * np.isnan(balance)
    left = (draw.random(n_rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    columns = {"id": [f"client{n}" for n in range(n_rows)], "months": months, "balance": balance}
    texts = {"plan": pd.Series(plan, dtype="str"), "city": pd.Series(city, dtype="str")}
    return pd.DataFrame(columns | texts | {"left": left}).astype({"id": "str"})


@pytest.fixture
def table() -> pd.DataFrame:
    """Six thousand clients."""
    return make_table(6000)


@pytest.fixture
def path(tmp_path: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Their dataset, to be read in many blocks."""
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 20_000)
    place = tmp_path / "finaldata.csv"
    place.write_bytes(b"".join(csv_writer.spell_table(table)))
    return place


def fit(path: Path, config: Config, *, in_file: bool = False) -> Candidate:
    """Fit in passes."""
    config = msgspec.structs.replace(config, schema=SCHEMA)
    read = chunked_dataset.read(path, SCHEMA, io.BytesIO() if in_file else None)
    return candidate.fit_in_passes(read, config)


@pytest.mark.parametrize("n_rows", [2, 10, 11, 4097])
def test_the_split_is_that_of_scikit_learn(n_rows: int) -> None:
    settings = TrainingSettings()

    split = chunk_store.split_rows(n_rows, settings)

    own, held_out = train_test_split(
        np.arange(n_rows), test_size=settings.validation_fraction, random_state=42
    )
    assert np.flatnonzero(split.is_held_out).tolist() == sorted(held_out)
    assert split.training.tolist() == own.tolist()
    assert split.validation.tolist() == held_out.tolist()


def test_one_row_cannot_be_split() -> None:
    with pytest.raises(InsufficientDataError, match="1 rows cannot be split"):
        chunk_store.split_rows(1, TrainingSettings())


def test_the_dataset_is_described_as_from_a_table(
    path: Path, table: pd.DataFrame, config: Config
) -> None:
    found = fit(path, config).model.dataset

    expected = candidate.describe_dataset(table, found.sha256, SCHEMA)
    assert found.n_rows == expected.n_rows
    assert found.n_positives == expected.n_positives
    assert found.missing_fractions == pytest.approx(expected.missing_fractions)
    for own, other in zip(found.summary, expected.summary, strict=True):
        assert own.column == other.column
        assert own.median == other.median
        assert own.mean == pytest.approx(other.mean)
        assert own.standard_deviation == pytest.approx(other.standard_deviation)


def test_what_is_kept_of_the_dataset_is_as_from_a_table(
    path: Path, table: pd.DataFrame, config: Config
) -> None:
    fitted = fit(path, config).model

    kept, expected = fitted.dataset.reference, reference.make_reference(fitted, table)
    assert kept is not None
    assert kept.numeric == expected.numeric
    assert kept.categorical == expected.categorical
    assert kept.row_hashes == expected.row_hashes
    for name, own in kept.contributions.items():
        assert own.mean == pytest.approx(expected.contributions[name].mean)
        deviation = expected.contributions[name].standard_deviation
        assert own.standard_deviation == pytest.approx(deviation)
    assert fitted.dataset.typical == reference.find_typical(fitted, table)


def test_only_the_smallest_hashes_are_kept(
    path: Path, table: pd.DataFrame, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deduplicate, "N_HASHES", 100)

    kept = fit(path, config).model.dataset.reference

    hashes = deduplicate.hash_rows(table, SCHEMA)
    assert kept is not None
    assert kept.row_hashes == deduplicate.encode_smallest(hashes)


def test_the_coefficients_are_those_of_scikit_learn_on_the_training_rows(
    path: Path, table: pd.DataFrame, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many rows are not fitted again, and need no scale.
    monkeypatch.setattr(model_fit, "MAX_ROWS_TO_REFIT", 0)

    candidate = fit(path, config)

    split = model_fit.prepare_dataset(table, SCHEMA, config.training, create_val_data=True)
    X, y = split["training"]["X"], split["training"]["y"]
    fitted = sklearn_pipeline.make_pipeline(X, SCHEMA, config.training, sklearn_pipeline.RAW)
    # By default it stops early enough for a difference of some ten thousandths.
    fitted.set_params(regression__tol=1e-10).fit(X, y)
    validation = candidate.model.validation
    slope = validation["calibration_slope"]
    assert slope is not None
    ours = candidate.estimator.estimator.estimator["regression"]
    np.testing.assert_allclose(ours.coef_, slope * fitted["regression"].coef_, rtol=1e-4, atol=1e-6)
    assert candidate.model.n_training_rows == len(y) == 5400
    assert validation["n_rows"] == 600
    # Rare cities share a column, and the model knows them all by name.
    assert len(candidate.model.categorical[1].rare) == len(set(X["city"])) - 1


def test_scaled_columns_have_mean_and_deviation_of_the_training_rows(
    path: Path, table: pd.DataFrame, config: Config
) -> None:
    candidate = fit(path, config)

    split = model_fit.prepare_dataset(table, SCHEMA, config.training, create_val_data=True)
    X, y = split["training"]["X"], split["training"]["y"]
    # The blanks of these tables are random.
    form = sklearn_pipeline.FeatureSettings(
        scaled=True, faint=tuple(sklearn_pipeline.columns_with_missing(X, SCHEMA))
    )
    fitted = sklearn_pipeline.make_pipeline(X, SCHEMA, config.training, form)
    fitted.set_params(regression__tol=1e-10).fit(X, y)
    scale = fitted["columns"].named_transformers_["numeric"]["scale"]
    assert [t.mean for t in candidate.model.numeric] == pytest.approx(scale.mean_)
    assert [t.scale for t in candidate.model.numeric] == pytest.approx(scale.scale_)
    slope = candidate.model.validation["calibration_slope"]
    coefficients = slope * fitted["regression"].coef_[0]
    assert [t.coefficient for t in candidate.model.numeric] == pytest.approx(
        coefficients[:2], rel=1e-5
    )


def test_rows_in_a_file_give_the_same_model_as_in_memory(path: Path, config: Config) -> None:
    in_memory, in_file = fit(path, config), fit(path, config, in_file=True)

    assert logistic_model.encode_model(in_file.model) == logistic_model.encode_model(
        in_memory.model
    )


@pytest.mark.parametrize("is_fair", [True, False])
def test_a_share_of_the_rows_first_leads_to_the_same_coefficients(
    tmp_path: Path,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    is_fair: bool,
) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 20_000)
    table = make_table(45_000)
    if not is_fair:
        # All clients of one plan are in blocks of which none is in the share.
        has_gold = table["plan"] == "gold"
        parts = [table[~has_gold][:700], table[has_gold][:4000], table[~has_gold][700:]]
        table = pd.concat(parts, ignore_index=True)
    place = tmp_path / "x.csv"
    place.write_bytes(b"".join(csv_writer.spell_table(table)))
    solve, settle = chunked_fit.solve, newton_solver.settle
    settled: list[Any] = []
    solved: list[Any] = []

    def watch_settle(*given: Any) -> Any:
        settled.append(settle(*given))
        return settled[-1]

    def solve_twice(*given: Any) -> Any:
        solved.append(solve(*given))
        monkeypatch.setattr(chunked_fit, "MIN_CHUNKS", 10**9)
        solved.append(solve(*given))
        return solved[-1]

    monkeypatch.setattr(newton_solver, "settle", watch_settle)
    monkeypatch.setattr(chunked_fit, "solve", solve_twice)

    fit(place, config)

    assert [found is not None for found in settled] == [is_fair]
    with_share, without = solved
    np.testing.assert_allclose(with_share, without, rtol=1e-5, atol=1e-6)


def test_large_and_wide_numbers_are_kept_exactly(tmp_path: Path, config: Config) -> None:
    table = make_table(300).assign(months=range(0, 300 * 10**7, 10**7), balance=0.1)
    place = tmp_path / "x.csv"
    place.write_bytes(b"".join(csv_writer.spell_table(table)))

    read = chunked_dataset.read(place, SCHEMA)

    chunk = next(iter(read.store))
    assert chunk.numbers.dtype == np.float64
    assert chunk.numbers[:, 0].tolist() == list(range(0, 300 * 10**7, 10**7))
    over = Passes(read.store, read.columns, np.zeros(300, np.bool_))
    assert read.columns["months"].counts is None
    assert over.spread("months").cells() == profile.make_bins(chunk.numbers[:, 0])


@pytest.mark.parametrize(
    ("parts", "counts"),
    [
        ([[0, 2], [2, 5]], [[1, 0], [0, 0], [1, 1], [0, 0], [0, 0], [0, 1]]),
        ([[2.0, np.nan], [np.nan, 0.0]], [[0, 1], [0, 0], [1, 0]]),
        ([[1, 2], [-1, 2]], None),
        ([[1, 2], [2**16, 2]], None),
        ([[1, 2], [0.5, 2]], None),
        ([[0.5, 2], [1, 2]], None),
    ],
)
@pytest.mark.parametrize("at_once", [0, 2**16])
def test_small_whole_numbers_are_counted_and_others_summed_up(
    monkeypatch: pytest.MonkeyPatch,
    parts: list[list[float]],
    counts: list[list[int]] | None,
    at_once: int,
) -> None:
    monkeypatch.setattr(profile, "COUNTED_AT_ONCE", at_once)
    column = profile.Column()

    for values in parts:
        column.add(np.array(values), np.array([0, 1], np.int8))

    found = column.counts
    assert (None if found is None else found.tolist()) == counts
    numbers = [number for values in parts for number in values if number == number]
    assert column.running.n_values == len(numbers)
    assert column.running.mean == pytest.approx(np.mean(numbers))
    assert column.running.deviation(0) == pytest.approx(np.std(numbers))


def test_numbers_that_are_not_there_are_neither_counted_nor_summed_up() -> None:
    column = profile.Column()

    column.add(np.array([np.nan, np.nan]), np.array([0, 1], np.int8))

    assert column.running.n_values == 0
    assert np.isnan(column.running.deviation(0))
    assert column.counts is not None
    assert column.counts.size == 0


def test_a_scarce_memory_changes_nothing_of_the_split() -> None:
    settings = TrainingSettings()

    split, tight = (chunk_store.split_rows(4097, settings, is_tight=t) for t in (False, True))

    for own, other in zip(vars(split).values(), vars(tight).values(), strict=True):
        assert own.tolist() == other.tolist()


def test_one_class_is_not_enough(tmp_path: Path, config: Config) -> None:
    place = tmp_path / "x.csv"
    place.write_bytes(b"".join(csv_writer.spell_table(make_table(300).assign(left=1))))

    with pytest.raises(InsufficientDataError, match="All 270 training rows have the same label"):
        fit(place, config)


def test_a_damaged_dataset_is_refused(path: Path, config: Config) -> None:
    path.write_bytes(path.read_bytes() + b"x,1,2\n")

    with pytest.raises(DatasetError, match=r"not as ingestion wrote it: line 6002 "):
        fit(path, config)


@pytest.mark.parametrize(
    ("gigabytes", "many_rows", "way"),
    [
        (None, 27, ExecutionMode.TABLE),
        (None, 26, ExecutionMode.PARTS),
        (1e-6, 27, ExecutionMode.PARTS_IN_FILE),
        (1e3, 27, ExecutionMode.TABLE),
    ],
)
def test_the_way_suits_the_size(
    deployed: Config,
    monkeypatch: pytest.MonkeyPatch,
    gigabytes: float | None,
    many_rows: int,
    way: ExecutionMode,
) -> None:
    monkeypatch.setattr(capacity, "MANY_ROWS", many_rows)
    # Twenty-six rows and the header.
    (path,) = deployed.output_folder_path.glob("finaldata_*.csv")

    assert capacity.choose_mode(path, EngineSettings(memory_limit_gb=gigabytes)) is way


@pytest.mark.parametrize("gigabytes", [None, 1e-6])
def test_a_whole_training_of_many_rows_leaves_a_model_and_no_other_file(
    deployed: Config, monkeypatch: pytest.MonkeyPatch, gigabytes: float | None
) -> None:
    expected = training.main(deployed).model
    monkeypatch.setattr(capacity, "MANY_ROWS", 20)
    config = msgspec.structs.replace(deployed, engine=EngineSettings(memory_limit_gb=gigabytes))
    before = set(config.output_model_path.iterdir())

    made = training.main(config)

    assert set(config.output_model_path.iterdir()) - before == {made.model_path, made.pickle_path}
    assert made.model.dataset.summary == expected.dataset.summary
    for own, other in zip(made.model.numeric, expected.numeric, strict=True):
        assert own.coefficient == pytest.approx(other.coefficient, rel=1e-4)


def test_a_sample_holds_the_rows_of_the_dataset(path: Path, table: pd.DataFrame) -> None:
    read = chunked_dataset.read(path, SCHEMA)
    places = np.array([0, 17, 3000, 5999])

    X, y = chunked_fit.as_rows(read.store.take(places), read.store)

    chosen = table.iloc[places].reset_index(drop=True)
    assert y.tolist() == chosen["left"].tolist()
    assert X["city"].tolist() == chosen["city"].tolist()
    np.testing.assert_array_equal(X["balance"], chosen["balance"])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([0, 2**24], np.int32), np.float32),
        (np.array([0, 2**24 + 1], np.int32), np.float64),
        (np.array([-(2**24) - 1, 0], np.int32), np.float64),
        (np.array([2**24 + 2, 0], np.int32), np.float32),
        (np.array([0.5, np.nan]), np.float32),
        (np.array([0.1, np.nan]), np.float64),
    ],
)
def test_numbers_are_kept_in_half_the_memory_only_where_that_loses_nothing(
    values: NDArray[Any], kind: type
) -> None:
    kept = chunk_store.take_numbers([values, np.array([1, 2], np.int32)], 2)

    assert kept.dtype == kind
    np.testing.assert_array_equal(kept[:, 0].astype(np.float64), values)
    assert kept[:, 1].tolist() == [1, 2]
