"""Monthly extracts of a made-up company: dates, outcomes, today's clients, the test of tomorrow."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from scripts import ingestion
from scripts.core.artifacts import Kind
from scripts.core.errors import InsufficientDataError
from tests.support.monthly import (
    HEADER,
    MONTHS,
    NAMES,
    SCHEMA,
    Company,
    Names,
    configure,
    read_both,
)


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_every_client_of_the_newest_extract_is_on_the_list_whatever_the_files_are_called(
    tmp_path: Path, names: Names
) -> None:
    company = Company()
    company.write(tmp_path, 5, names)

    found = ingestion.main(configure(tmp_path))

    expected = [row.split(",")[1] for row in company.rows[4]]
    assert sorted(found.clients["id"]) == sorted(expected)
    assert set(found.clients["snapshot"]) == {str(MONTHS[4])}


def test_the_names_of_the_files_change_no_byte_of_the_dataset(tmp_path: Path) -> None:
    contents = set()
    for number, names in enumerate(NAMES.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        Company().write(folder, 5, names)
        found = ingestion.main(configure(folder))
        contents.add(found.dataset_path.read_bytes())

    assert len(contents) == 1


def test_the_test_is_the_latest_mature_month_and_training_ends_before(tmp_path: Path) -> None:
    Company().write(tmp_path, 7)
    config = configure(tmp_path)

    found = ingestion.main(config)

    training, test = read_both(config, found.stamp)
    assert set(test["snapshot"]) == {"2025-05-31"}
    assert training["snapshot"].max() == "2025-04-30"
    shown = {"days since signup", "days since last_login", "logins, change since the row before"}
    assert shown | {"usage"} < set(training.columns)
    first = training["snapshot"] == "2025-01-31"
    assert training.loc[first, "logins, change since the row before"].isna().all()


def test_no_value_of_a_text_or_date_column_is_in_the_dataset(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Company().write(tmp_path, 4)
    config = configure(tmp_path)

    found = ingestion.main(config)

    written = found.dataset_path.read_text()
    schema = Kind.SCHEMA.path(config.output_folder_path, found.stamp).read_text()
    for canary in ("@example.com", "spoke to", "Company 0"):
        assert canary not in written + schema + caplog.text
    assert re.search("'email' aside: it holds e-mail addresses", caplog.text)
    assert re.search("'note' aside: it ", caplog.text)


def test_a_leaver_is_off_the_list_also_if_the_extracts_keep_the_client(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    company = Company()
    company.write(tmp_path, 4)
    todays = [row.split(",")[1] for row in company.rows[3]]
    before = {row.split(",")[1] for row in company.rows[2]}
    kept, after = [name for name in todays if name in before][:2]
    with (tmp_path / "outcomes" / "left.csv").open("a") as file:
        file.write(f"{kept},{MONTHS[2]}\n{after},{MONTHS[3] + timedelta(days=2)}\n")
    caplog.set_level("INFO")

    found = ingestion.main(configure(tmp_path))

    assert {kept, after}.isdisjoint(found.clients["id"])
    assert found.dated is not None
    assert (found.dated.n_gone, found.dated.n_returned) == (1, 0)
    assert "1 client of the newest extract had left by the outcomes, and is not on the list" in (
        caplog.text
    )


def test_who_was_away_in_an_extract_after_leaving_is_back_on_the_list(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    company = Company()
    todays = {row.split(",")[1] for row in company.rows[4]}
    first = next(row.split(",")[1] for row in company.rows[1] if row.split(",")[1] in todays)
    company.rows[3] = [row for row in company.rows[3] if f",{first}," not in row]
    company.write(tmp_path, 5)
    before = (MONTHS[2] + timedelta(days=5)).isoformat()
    (tmp_path / "outcomes" / "early.csv").write_text(f"id,left_on\n{first},{before}\n")
    caplog.set_level("INFO")

    found = ingestion.main(configure(tmp_path))

    assert first in set(found.clients["id"])
    assert found.dated is not None
    assert (found.dated.n_gone, found.dated.n_returned) == (0, 1)
    assert re.search(r"\b1 of today's clients had left by the outcomes", caplog.text)


def test_the_day_may_stand_in_the_name_of_the_file(tmp_path: Path) -> None:
    company = Company()
    company.write(tmp_path, 4)
    for path in (tmp_path / "in").iterdir():
        lines = path.read_text().splitlines()
        path.write_text("\n".join(line.partition(",")[2] for line in lines) + "\n")
    (tmp_path / "in" / "clients.csv").write_text(HEADER.partition(",")[2] + "\n")

    found = ingestion.main(configure(tmp_path, schema=SCHEMA | {"date": "file_name"}))

    assert len(found.clients) == 300
    assert set(found.clients["as_of"]) == {str(MONTHS[3])}
    refused = [reading.refused for reading in found.readings if reading.refused]
    assert len(refused) == 1
    assert "its name has no date such as 2026-03-31" in refused[0]


def test_a_row_with_a_wrong_date_is_rejected_with_its_line(tmp_path: Path) -> None:
    Company().write(tmp_path, 4)
    path = tmp_path / "in" / f"clients_{MONTHS[0]}.csv"
    path.write_text(path.read_text().replace(str(MONTHS[0]), "soon", 1))
    config = configure(tmp_path)

    found = ingestion.main(config)

    rejected = Kind.REJECTED.path(config.output_folder_path, found.stamp).read_text()
    assert "clients_2025-01-31.csv,2,snapshot,\"expected a date such as 2026-03-31, found 'soon'\""\
        in rejected  # fmt: skip


def test_before_any_outcome_there_is_nothing_to_learn(tmp_path: Path) -> None:
    Company().write(tmp_path, 1)
    config = configure(tmp_path)

    with pytest.raises(InsufficientDataError, match="None of 300 rows has an outcome"):
        ingestion.main(config)


def test_a_folder_of_test_data_decides_and_its_overlap_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Company().write(tmp_path, 5)
    (tmp_path / "test").mkdir()
    extract = tmp_path / "in" / f"clients_{MONTHS[1]}.csv"
    extract.rename(tmp_path / "test" / "february.csv")
    caplog.set_level("INFO")
    config = configure(tmp_path, test_data_path="test")

    found = ingestion.main(config)

    training, test = read_both(config, found.stamp)
    assert set(test["snapshot"]) == {"2025-02-28"}
    assert set(training["snapshot"]) == {"2025-01-31", "2025-03-31"}
    # The row before a row of the test may be of the input, and the other way round.
    assert test["logins, change since the row before"].notna().sum() > 200
    assert re.search(r"\d+ of the 300 clients of the test data and 0 of its 1 days", caplog.text)
    assert "2025-02-28, 89 days before the newest row" in caplog.text or "92 days" in caplog.text


def test_a_test_row_that_is_in_the_input_too_is_not_trained_on(tmp_path: Path) -> None:
    Company().write(tmp_path, 5)
    (tmp_path / "test").mkdir()
    extract = tmp_path / "in" / f"clients_{MONTHS[1]}.csv"
    (tmp_path / "test" / "february.csv").write_bytes(extract.read_bytes())
    config = configure(tmp_path, test_data_path="test")

    found = ingestion.main(config)

    training, test = read_both(config, found.stamp)
    assert len(test) == 300
    assert "2025-02-28" not in set(training["snapshot"])


def test_a_column_that_only_the_newest_file_has_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Company().write(tmp_path, 4)
    newest = max((tmp_path / "in").iterdir())
    header, *rows = newest.read_text().splitlines()
    rows = [f"{row},{number % 4},x" for number, row in enumerate(rows)]
    newest.write_text("\n".join([f"{header},referrals,branch", *rows]) + "\n")

    found = ingestion.main(configure(tmp_path, schema=SCHEMA | {"ignore": ["branch"]}))

    assert found.new_columns == ("referrals",)
    assert "Not used, since only some of the files have them: 'referrals'." in caplog.text
