"""The backtest: each month predicted by what was known before it, beside a random split."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from scripts import backtest as command
from scripts import ingestion
from scripts.app import create_app
from scripts.core import capacity
from scripts.core.config import Config, Schema
from scripts.core.errors import ConfigError, InsufficientDataError
from scripts.engine.mature_rows import MatureInput, MatureRows
from scripts.production import backtest, backtest_file
from scripts.production.run_context import RunContext
from tests.support.monthly import Company, configure

NOW = datetime(2026, 3, 31, tzinfo=UTC)


def read(config: Config) -> tuple[MatureInput, Schema]:
    """Read the mature rows as the command does, and return them with the schema."""
    context, paths = RunContext(config), ingestion.find_input(config)
    schema = ingestion.choose_schema(context, paths)
    return context.engine.read_mature(paths, schema), schema


def run(folder: Path, n_months: int) -> backtest_file.Backtest:
    Company().write(folder, n_months)
    config = configure(folder)
    found, schema = read(config)
    return backtest.main(found.rows, schema, config, NOW)


def test_the_resampled_auc_is_that_of_scikit_learn_on_the_same_rows() -> None:
    made = np.random.default_rng(0)
    # With equal probabilities, and so few positive rows that some resamples have none.
    y, p = (made.random(40) < 0.05).astype(np.int64), np.round(made.random(40), 1)
    random, expected = np.random.default_rng(1), []
    for _ in range(backtest.N_RESAMPLES):
        rows = random.integers(0, 40, 40)
        if 0 < y[rows].sum() < 40:
            expected.append(roc_auc_score(y[rows], p[rows]))

    found = list(backtest.resample_auc(y, p, np.random.default_rng(1)))

    assert 0 < len(expected) < backtest.N_RESAMPLES
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> backtest_file.Backtest:
    """Return the backtest of seven months."""
    return run(tmp_path_factory.mktemp("backtest"), 7)


def test_each_month_is_predicted_by_what_was_known_before_it(
    result: backtest_file.Backtest,
) -> None:
    # February is 28 days after January, so that January's horizon is not over.
    assert [period.name for period in result.periods] == ["2025-03-31", "2025-04-30", "2025-05-31"]
    assert [period.n_training_rows for period in result.periods] == [600, 900, 1200]
    assert {period.n_rows for period in result.periods} == {300}
    assert result.together.n_rows == 900
    assert result.random_split.n_training_rows == 1200
    for period in (*result.periods, result.together, result.random_split):
        assert 0.6 < (period.roc_auc.value or 0) < 1
        assert (period.roc_auc.low or 0) < (period.roc_auc.value or 0) < (period.roc_auc.high or 0)
        assert period.n_listed == pytest.approx(period.n_rows / 10)


def test_the_capacity_of_the_team_is_the_length_of_the_list() -> None:
    probability = np.array([0.1, 0.9, 0.5])

    assert backtest.list_riskiest(probability, 2).tolist() == [False, True, True]
    assert backtest.list_riskiest(probability, 9).all()
    assert backtest.list_riskiest(probability, None).tolist() == [False, True, False]


def test_two_months_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(InsufficientDataError, match="none of the 1 periods with known outcomes"):
        run(tmp_path, 3)


def test_the_file_of_a_result_is_read_back(result: backtest_file.Backtest, tmp_path: Path) -> None:
    backtest_file.write(tmp_path, result)

    assert backtest_file.read(tmp_path) == result
    assert backtest_file.read(tmp_path / "nowhere") is None


def test_a_damaged_file_hides_the_backtest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / backtest_file.NAME).write_text("{}")

    assert backtest_file.read(tmp_path) is None
    assert "which hides the backtest" in caplog.text


def test_the_table_names_each_month_and_the_random_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Company().write(tmp_path, 5)

    command.show_backtest(configure(tmp_path), seed=0)

    printed = capsys.readouterr().out
    assert "2025-03-31" in printed
    assert "random split" in printed
    assert "AUC, over time" in printed
    assert backtest_file.read(tmp_path / "models") is not None


def limit_memory(config: Config, monkeypatch: pytest.MonkeyPatch, least_rows: int) -> Config:
    """Return a config with memory for a number of rows of a table only."""
    engine = msgspec.structs.replace(config.engine, memory_limit_gb=0.4)
    monkeypatch.setattr(capacity, "LIBRARY_BYTES", 4 * 10**8)
    monkeypatch.setattr(capacity, "LEAST_BYTES", 1)
    monkeypatch.setattr(capacity, "LEAST_ROWS", least_rows)
    return msgspec.structs.replace(config, engine=engine)


def test_rows_that_go_through_files_are_the_rows_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Company().write(tmp_path, 5)
    config = configure(tmp_path)

    whole, _ = read(config)
    limited, _ = read(limit_memory(config, monkeypatch, least_rows=10**6))

    assert (whole.share, limited.share) == (1, 1)
    pd.testing.assert_frame_equal(limited.rows.table, whole.rows.table, check_dtype=False)
    assert limited.rows.periods.tolist() == whole.rows.periods.tolist()
    assert limited.rows.days.tolist() == whole.rows.days.tolist()
    assert [r.sha256 for r in limited.readings] == [r.sha256 for r in whole.readings]


def test_of_rows_beyond_memory_a_share_of_the_clients_is_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Company().write(tmp_path, 7)
    config = limit_memory(configure(tmp_path), monkeypatch, least_rows=900)

    command.show_backtest(config, seed=0)

    found = backtest_file.read(tmp_path / "models")
    assert found is not None
    assert [period.name for period in found.periods] == ["2025-03-31", "2025-04-30", "2025-05-31"]
    # 900 of the 1,500 mature rows, as near as whole clients allow.
    assert 400 < found.together.n_rows < 700
    assert "The backtest is of 60.0% of the clients, drawn by the key" in caplog.text
    assert not [*(tmp_path / "output").glob(".*.tmp")]


def test_without_dates_there_is_nothing_to_go_through(config: Config) -> None:
    with pytest.raises(ConfigError, match="A backtest needs schema.date"):
        command.show_backtest(config, seed=0)


def test_a_column_that_holds_for_its_month_alone_carries_the_difference(tmp_path: Path) -> None:
    # A code of the month, whose meaning turns: only rows of the same month tell it.
    random = np.random.default_rng(3)
    months = np.repeat(np.arange(6), 300)
    left = (random.random(len(months)) < 0.3).astype(int)
    code = [f"{month}{'ab'[int(y if random.random() < 0.8 else 1 - y)]}"
            for month, y in zip(months, left, strict=True)]  # fmt: skip
    table = pd.DataFrame(
        {"client": [f"c{k}" for k in range(len(months))],
         "honest": left + random.normal(0, 1, len(months)), "code": code, "left": left}
    )  # fmt: skip
    schema = Schema(target="left", ids=("client",), numeric=("honest",), categorical=("code",))
    Company().write(tmp_path, 1)
    config = msgspec.structs.replace(configure(tmp_path), schema=schema)

    result = backtest.run(MatureRows(table, months, months * 31), 0, config, NOW)

    assert result.columns[0].column == "code"
    assert result.columns[0].random_split > 0.1 > result.columns[0].over_time
    assert (result.random_split.roc_auc.low or 0) > (result.together.roc_auc.high or 1)


def test_the_page_has_both_shares_in_percent_and_no_minus_before_zero(
    result: backtest_file.Backtest, tmp_path: Path
) -> None:
    config = configure(tmp_path, database_url="sqlite:///records.db")
    column = msgspec.structs.replace(result.columns[0], random_split=-0.0004, over_time=-0.02)
    told = msgspec.structs.replace(result, columns=[column])
    config.output_model_path.mkdir(parents=True, exist_ok=True)
    backtest_file.write(config.output_model_path, told)

    page = create_app(tmp_path / "config.json").test_client().get("/dashboard/backtest").text

    realised = told.together.realised
    assert realised.value is not None
    assert f'data-label="Realised">{realised.value:.1%} <span' in page
    for text in (page, command.format_columns(told)):
        assert "+0.000" in text
        assert "-0.000" not in text
        assert "-0.020" in text
