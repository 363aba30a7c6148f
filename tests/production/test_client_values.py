"""The worth of a client may be a column that is no feature, also with dated test rows."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from scripts import fullprocess, ingestion, promotion, reporting
from scripts.clients import worklist
from scripts.core import capacity
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.errors import DatasetError
from scripts.data import dataset, kept_columns, table_reader
from scripts.production import client_values
from scripts.production.run_context import RunContext
from scripts.records import runs
from tests.support.clientele import ask
from tests.support.monthly import MONTHS, SCHEMA, Company, configure

WORTH = {"value": "seats", "costs": {"contact": 1, "offer": 2}, "capacity": 20}
N_MONTHS = 5
FEWER = {name: value for name, value in SCHEMA.items() if name != "ratios"}


def install(folder: Path, company: Company, **more: Any) -> Config:
    """Write the extracts of a company whose worth is a column that the model ignores."""
    company.write(folder, N_MONTHS)
    settings: dict[str, Any] = {
        "schema": FEWER | {"ignore": ["seats"]}, "worklist": WORTH, "api": {"port": 1},
        "promotion": {"metric": "expected_gain"}, "database_url": "sqlite:///records.db",
    }  # fmt: skip
    return configure(folder, **settings | more)


def month_of_test(table: pd.DataFrame) -> int:
    """Return the number of the only extract that test rows are of."""
    (day,) = table["snapshot"].unique()
    return [str(month) for month in MONTHS].index(day)


def seats_of(company: Company, month: int) -> dict[str, float]:
    """Return the seats of the clients of an extract."""
    cells = (row.split(",") for row in company.rows[month])
    return {each[1]: float(each[-1]) for each in cells}


def model_of(made: ingestion.Ingestion, config: Config) -> Any:
    """Return what is asked of a model here: the columns of the dataset."""
    path = Kind.SCHEMA.path(made.dataset_path.parent, made.stamp)
    return SimpleNamespace(schema=dataset.read_schema(path, config.schema))


@pytest.fixture(scope="module")
def company() -> Company:
    """A company of few clients."""
    return Company(n_clients=150)


@pytest.mark.parametrize("size", ["small", "large", "beyond memory"])
def test_dated_test_rows_have_the_worth_of_their_client_and_day(
    tmp_path: Path, company: Company, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    config = install(tmp_path, company)
    if size != "small":
        monkeypatch.setattr(table_reader, "MANY_BYTES", 0)
    if size == "beyond memory":
        monkeypatch.setattr(capacity, "bound_bytes", lambda *_: 10**6)
    made, context = ingestion.main(config), RunContext(config)

    table, worth = client_values.read_test_values(context, model_of(made, config))

    # An extract without known outcomes is no test.
    assert month_of_test(table) < N_MONTHS - 1
    tested = seats_of(company, month_of_test(table))
    assert len(table) > 100
    assert worth.tolist() == [tested[name] for name in table["id"]]


def test_a_run_decides_by_the_gain_and_draws_the_profit_of_the_test(
    tmp_path: Path, company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    config = install(tmp_path, company)
    fullprocess.main(config)
    again = install(tmp_path, company, training={"model": "additive"})

    with caplog.at_level(logging.WARNING):
        fullprocess.main(again)

    decision = ask(again, runs.list_decisions, 1)[0]
    assert decision["metric"] == "expected_gain"
    assert decision["candidate_value"] != decision["production_value"]
    # The shadow orders by gain as well, and nothing was left out.
    assert decision["shadow"]["clients"]["n_rows"] == 150
    assert "profit" not in caplog.text
    assert "shadow" not in caplog.text
    context = RunContext(again)
    (drawn,) = reporting.draw_profit(context, context.require_release(), None)
    assert "test rows the best list brings" in drawn.alt
    page = ask(again, worklist.worklist_page, again.worklist, top=500)
    today = seats_of(company, N_MONTHS - 1)
    assert {entry.client: entry.value for entry in page.clients} == today


def test_the_files_are_searched_once_a_run(
    tmp_path: Path, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = install(tmp_path, company)
    made, context = ingestion.main(config), RunContext(config)
    _, worth = client_values.read_test_values(context, model_of(made, config))
    monkeypatch.setattr(kept_columns, "read", None)

    _, again = client_values.read_test_values(context, model_of(made, config))

    assert again.tolist() == worth.tolist()


def test_a_folder_of_dated_test_data_has_the_worth_itself(tmp_path: Path, company: Company) -> None:
    (tmp_path / "test").mkdir()
    config = install(tmp_path, company, test_data_path="test")
    table = pd.read_csv(tmp_path / "in" / f"clients_{MONTHS[1]}.csv", dtype=str)
    table.assign(seats="7").to_csv(tmp_path / "test" / "test.csv", index=False)
    made, context = ingestion.main(config), RunContext(config)

    _, worth = client_values.read_test_values(context, model_of(made, config))

    assert set(worth.tolist()) == {7.0}


def spoil_first(folder: Path) -> None:
    """Write a text for the seats of the first client of each extract."""
    for path in (folder / "in").iterdir():
        header, first, *others = path.read_text().splitlines()
        bad = ",".join([*first.split(",")[:-1], "many"])
        path.write_text("\n".join([header, bad, *others]) + "\n")


def test_a_cell_that_is_no_number_costs_one_client_the_worth_and_nobody_the_list(
    tmp_path: Path, company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    config = install(tmp_path, company)
    spoil_first(tmp_path)
    with caplog.at_level(logging.WARNING):
        fullprocess.main(config)
    context = RunContext(config)

    table, worth = client_values.read_test_values(context, context.require_release().model)

    assert "'seats' has cells that are no number, such as 'many'" in caplog.text
    first, *others = seats_of(company, month_of_test(table)).items()
    found = dict(zip(table["id"], worth.tolist(), strict=True))
    known = [seats for name, seats in others if name in found]
    assert found[first[0]] == pd.Series(known).median()
    page = ask(config, worklist.worklist_page, config.worklist, top=500)
    values = {entry.client: entry.value for entry in page.clients}
    without = next(iter(seats_of(company, N_MONTHS - 1)))
    assert len(values) == 150
    assert [name for name, value in values.items() if value is None] == [without]


def test_a_worth_that_no_file_has_is_said(tmp_path: Path, company: Company) -> None:
    schema = FEWER | {"ignore": ["fees", "seats"]}
    config = install(tmp_path, company, worklist=WORTH | {"value": "fees"}, schema=schema)
    made, context = ingestion.main(config), RunContext(config)

    with pytest.raises(DatasetError, match=r"'fees', and none of \d+ rows has a number there"):
        client_values.read_test_values(context, model_of(made, config))


@pytest.mark.parametrize("is_dated", [True, False])
def test_the_simulation_knows_the_worth_that_is_no_feature(
    tmp_path: Path, company: Company, *, is_dated: bool
) -> None:
    config = install(tmp_path, company)
    table = pd.concat(pd.read_csv(path, dtype=str) for path in sorted((tmp_path / "in").iterdir()))
    if not is_dated:
        schema = {
            "ids": ["id"],
            "numeric": ["logins", "users"],
            "categorical": ["plan"],
            "ignore": ["seats"],
        }
        config = install(tmp_path, company, schema=schema, outcomes=None, test_data_path="test")
        table["exited"] = table["id"].isin(company.leaves).astype(int)
    table.to_csv(tmp_path / "table.csv", index=False)

    done = CliRunner().invoke(
        promotion.make_program(),
        ["simulate", str(tmp_path / "table.csv"), "--config", str(tmp_path / "config.json"),
         "--batches", "2", "--test-rows", "50", "--repeats", "1"],
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert "metric expected_gain" in done.output
    assert config.promotion.metric == "expected_gain"
