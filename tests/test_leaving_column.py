"""Extracts that keep every client ever, with a column that says who has left."""

from pathlib import Path
from typing import Any

import pytest

from scripts import ingestion
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.errors import ConfigError
from tests.support.monthly import MONTHS, SCHEMA, Company, configure, read_both

HORIZON = {"horizon_days": 30}


def configure_column(folder: Path, leaving: Any = "churn_date", **more: Any) -> Config:
    return configure(folder, schema=SCHEMA | {"leaving": leaving}, **({"outcomes": HORIZON} | more))


def test_the_rows_are_those_of_extracts_of_clients_with_files_of_outcomes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    company, apart, ever = Company(), tmp_path / "apart", tmp_path / "ever"
    apart.mkdir()
    ever.mkdir()
    company.write(apart, 5)
    company.write_ever(ever, 5)
    files = {"input_folder_path": "outcomes", "date": "left_on", "complete_until": str(MONTHS[4])}
    expected = ingestion.main(configure(apart, outcomes=HORIZON | files))
    caplog.set_level("INFO")

    found = ingestion.main(configure_column(ever))

    assert found.dataset_path.read_bytes() == expected.dataset_path.read_bytes()
    tests = [
        Kind.TEST_ROWS.path(run.dataset_path.parent, run.stamp).read_bytes()
        for run in (expected, found)
    ]
    assert tests[0] == tests[1]
    assert sorted(found.clients["id"]) == sorted(expected.clients["id"])
    n_gone = sum(day <= MONTHS[4] for day in company.leaves.values())
    assert found.dated is not None
    assert found.dated.n_gone == n_gone
    assert f"{n_gone} clients of the newest extract have left by it" in caplog.text
    assert "churn_date" not in found.dataset_path.read_text().partition("\n")[0]


def test_a_status_of_leavers_keeps_them_off_the_list_and_is_an_outcome(tmp_path: Path) -> None:
    company = Company()
    company.write_ever(tmp_path, 5, status=True)
    config = configure_column(tmp_path, {"column": "status", "labels": ["cancelled"]})

    found = ingestion.main(config)

    expected = [row.split(",")[1] for row in company.rows[4]]
    assert sorted(found.clients["id"]) == sorted(expected)
    training, test = read_both(config, found.stamp)
    assert {"status"}.isdisjoint(training.columns)
    assert 0 < test["left"].mean() < 0.5


@pytest.mark.parametrize(
    ("leaving", "more", "message"),
    [
        ("churn_date", {"outcomes": HORIZON | {"date": "x"}}, "no input_folder_path"),
        ("churn_date", {"outcomes": None}, "needs outcomes"),
        ("id", {}, "names the columns .'id'. more than once"),
        ({"column": "c", "format": "%Y"}, {}, "no format of dates"),
        ({"column": "c", "labels": [" "]}, {}, "a blank status"),
        ({"column": "c", "labels": ["x"], "format": "%d.%m.%Y"}, {}, "one of the two"),
    ],
)
def test_settings_of_leaving_without_a_meaning_are_refused(
    tmp_path: Path, leaving: Any, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        configure_column(tmp_path, leaving, **more)


def test_outcomes_need_files_or_a_column(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs input_folder_path.* or schema.leaving"):
        configure(tmp_path, outcomes=HORIZON)


def test_a_column_of_leaving_may_be_called_as_the_target_is_by_default(tmp_path: Path) -> None:
    assert configure_column(tmp_path, "left").schema.target == "left within the horizon"
