"""Extracts that keep every client ever, with a column that says who has left."""

import io
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scripts import config as config_command
from scripts import fullprocess, ingestion, worklist
from scripts.app import create_app
from scripts.core import config_file
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.errors import ConfigError, DatasetError, InsufficientDataError
from tests.support.monthly import HEADER, MONTHS, SCHEMA, Company, configure, read_both

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
        ("churn_date", {"outcomes": HORIZON | {"format": "%d.%m.%Y"}}, "has .'format'. of files"),
        ("churn_date", {"outcomes": None}, "needs outcomes"),
        (
            {"column": "status", "labels": ["x"]},
            {"worklist": {"value": "status", "costs": {"contact": 5, "offer": 40}}},
            "worklist.value, names 'status'; expected a numeric column",
        ),
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


def suggest(folder: Path) -> tuple[dict[str, Any], str]:
    """Write the config.json that is suggested, and return it with the notices."""
    done = CliRunner().invoke(config_command.make_program, ["suggest", str(folder / "in")])
    assert done.exit_code == 0, done.output
    (folder / "config.json").write_text(done.stdout)
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed, done.stderr


def german(day: str) -> str:
    return ".".join(reversed(day.split("-"))) if day else ""


@pytest.mark.parametrize("name", ["churn_date", "gekündigt am"])
def test_a_day_of_leaving_is_suggested_and_the_printed_file_works(
    tmp_path: Path, name: str
) -> None:
    company = Company()
    company.write_ever(tmp_path, 5)
    for path in (tmp_path / "in").iterdir():
        lines = path.read_text().splitlines()
        rows = [line.rpartition(",") for line in lines[1:]]
        cells = [f"{start},{german(end) if 'am' in name else end}" for start, _, end in rows]
        path.write_text("\n".join([f"{HEADER},{name}", *cells]) + "\n")

    printed, said = suggest(tmp_path)
    found = ingestion.main(config_file.read_config(tmp_path / "config.json"))

    form = {"column": name, "format": "%d.%m.%Y"}
    assert printed["schema"]["leaving"] == (form if "am" in name else name)
    assert printed["outcomes"] == {"horizon_days": 30}
    assert name not in printed["schema"]["ignore"]
    assert f"Outcomes: {name!r} is the day of leaving" in said
    expected = [row.split(",")[1] for row in company.rows[4]]
    assert sorted(found.clients["id"]) == sorted(expected)


def test_most_clients_may_have_left_and_months_of_31_days_count_whole(tmp_path: Path) -> None:
    # Five hundred clients of old, and those who leave do so on the last day of a month.
    days = [date(2025, month, 1) - timedelta(days=1) for month in range(2, 8)]
    for number, day in enumerate(days):
        lines = ["stichtag,kundennummer,umsatz,gekuendigt_zum"]
        for client in range(600):
            left = 0 if client < 500 else client % 12
            end = "2019-06-30" if not left else str(days[left]) if 0 < left <= number else ""
            lines.append(f"{day},K{client:04},{client % 7 + 0.5},{end}")
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{day}.csv").write_text("\n".join(lines) + "\n")

    printed, _ = suggest(tmp_path)

    assert printed["schema"]["leaving"] == "gekuendigt_zum"
    assert printed["outcomes"] == {"horizon_days": 31}


def test_the_end_of_a_contract_to_come_is_no_day_of_leaving(tmp_path: Path) -> None:
    for day in MONTHS[:4]:
        lines = ["snapshot,id,logins,end_date"]
        for client in range(100):
            end = "" if client % 3 else str(day + timedelta(days=30 * (client % 12 + 1)))
            lines.append(f"{day},c{client:04},{client % 7},{end}")
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{day}.csv").write_text("\n".join(lines) + "\n")

    printed, _ = suggest(tmp_path)

    assert "leaving" not in printed["schema"]
    assert printed["schema"]["ignore"] == ["end_date"]


def test_of_a_status_with_several_labels_those_of_leaving_are_suggested(tmp_path: Path) -> None:
    for number, day in enumerate(MONTHS[:4]):
        lines = ["snapshot,id,logins,status"]
        for client in range(200):
            gone = client % 10 < number
            words = (
                ("expired", "Gekündigt")[client % 2] if gone else ("aktiv", "paused")[client % 2]
            )
            lines.append(f"{day},c{client:04},{client % 7},{words}")
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{day}.csv").write_text("\n".join(lines) + "\n")

    printed, _ = suggest(tmp_path)
    found = ingestion.main(config_file.read_config(tmp_path / "config.json"))

    assert printed["schema"]["leaving"] == {"column": "status", "labels": ["gekündigt"]}
    assert len(found.clients) == 180


def test_pages_rankings_and_the_next_month_know_who_has_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    company, table = Company(), tmp_path / "table.csv"
    for n_months in (4, 5):
        company.write_ever(tmp_path, n_months)
        config = configure_column(tmp_path, api={"port": 1}, database_url="sqlite:///records.db")
        caplog.clear()
        caplog.set_level("INFO")
        fullprocess.main(config)
    n_gone = sum(day <= MONTHS[4] for day in company.leaves.values())
    newest = (tmp_path / "in" / f"clients_{MONTHS[4]}.csv").read_text()
    table.write_text(newest)
    client = create_app(tmp_path / "config.json").test_client()

    page = client.get("/").text
    ranked = client.post(
        "/dashboard/rank", data={"table": (io.BytesIO(newest.encode()), "mine.csv")},
        headers={"Accept": "text/html", "Origin": "http://localhost"},
    ).text  # fmt: skip
    entries, _ = worklist.rank_file(config, table, 1000)

    assert "Joined 300 outcomes to the scores of their periods" in caplog.text
    shown = f"{n_gone} of the {300 + n_gone} clients of the newest extract had left before"
    assert shown in page
    assert "300 clients ranked" in ranked
    assert f"Further {n_gone} clients have left, and are left out." in ranked
    assert len(entries) == 300
    table.write_text(f"{HEADER},churn_date\n{company.rows[4][0]},2020-01-01\n")
    with pytest.raises(DatasetError, match="The only client of the table has left by"):
        worklist.rank_file(config, table, 10)
    table.write_text(f"{HEADER}\n{company.rows[4][0]}\n")
    assert len(worklist.rank_file(config, table, 10)[0]) == 1


@pytest.mark.parametrize(
    ("name", "blank"),
    [
        ("deactivated_at", "0000-00-00"),
        ("deactivated_at", "1900-01-01"),
        ("Vertragsende", "31.12.9999"),
        ("Vertragsende", "NULL"),
    ],
)
def test_a_day_that_stands_for_none_is_blank(tmp_path: Path, name: str, blank: str) -> None:
    company = Company()
    company.write_ever(tmp_path, 5)
    for path in (tmp_path / "in").iterdir():
        lines = path.read_text().splitlines()
        rows = [line.rpartition(",") for line in lines[1:]]
        ends = [german(end) if name == "Vertragsende" else end for _, _, end in rows]
        cells = [f"{row[0]},{end or blank}" for row, end in zip(rows, ends, strict=True)]
        path.write_text("\n".join([f"{HEADER},{name}", *cells]) + "\n")

    printed, _ = suggest(tmp_path)
    found = ingestion.main(config_file.read_config(tmp_path / "config.json"))

    leaving = printed["schema"]["leaving"]
    assert leaving in (name, {"column": name, "format": "%d.%m.%Y"})
    expected = [row.split(",")[1] for row in company.rows[4]]
    assert sorted(found.clients["id"]) == sorted(expected)
    assert not any(reading.rejected for reading in found.readings)
    assert found.dated is not None
    assert found.dated.account.n_training > 500


def test_a_flag_of_active_clients_is_a_status(tmp_path: Path) -> None:
    for number, day in enumerate(MONTHS[:5]):
        lines = ["snapshot,id,logins,is_active,auto_renew"]
        for client in range(200):
            flag = int(client % 20 >= number)
            lines.append(f"{day},c{client:04},{client % 7},{flag},{int(client % 3 > 0)}")
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{day}.csv").write_text("\n".join(lines) + "\n")

    printed, _ = suggest(tmp_path)
    found = ingestion.main(config_file.read_config(tmp_path / "config.json"))

    assert printed["schema"]["leaving"] == {"column": "is_active", "labels": ["0"]}
    assert "auto_renew" not in printed["schema"]["ignore"]
    assert len(found.clients) == 160


def test_beside_files_of_outcomes_the_column_says_who_had_left_before_them(tmp_path: Path) -> None:
    company = Company()
    company.write_ever(tmp_path, 5)
    (tmp_path / "left").mkdir()
    late = [f"{name},{day}" for name, day in company.leaves.items() if MONTHS[2] < day <= MONTHS[4]]
    (tmp_path / "left" / "all.csv").write_text("\n".join(["id,left_on", *late]) + "\n")

    printed, said = suggest(tmp_path)
    found = ingestion.main(config_file.read_config(tmp_path / "config.json"))

    assert printed["schema"]["leaving"] == "churn_date"
    assert printed["outcomes"]["date"] == "left_on"
    assert "'churn_date' is the day of leaving" in said
    assert found.dated is not None
    told = " ".join(found.dated.notices)
    assert "of the newest extract have left by the column 'churn_date' or the files" in told
    assert told.count("Outcomes are known up to") == 1
    expected = [row.split(",")[1] for row in company.rows[4]]
    assert sorted(found.clients["id"]) == sorted(expected)


def test_one_extract_alone_says_that_a_later_one_is_needed(tmp_path: Path) -> None:
    Company().write_ever(tmp_path, 1)

    with pytest.raises(InsufficientDataError, match="once there is an extract that is later"):
        ingestion.main(configure_column(tmp_path))
