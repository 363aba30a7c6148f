"""The suggested config.json for made-up folders of many kinds, with clients over time."""

import json
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from examples.saas import make_data
from examples.saas.company import Plan
from scripts import config
from scripts.core import config_file
from scripts.core.config import Config
from scripts.core.errors import DatasetError
from scripts.data import schema_suggestion
from scripts.data.schema_suggestion import Suggestion

DAYS = tuple(date(2025, month, 1) for month in (2, 3, 4, 5))
N = 300


def make_clients(month: int, *, n: int = N) -> pd.DataFrame:
    """Make the clients of a month: a tenth is new, usage moves, half of the phones are blank."""
    rng = np.random.default_rng(month)
    number = np.arange(n) + month * n // 10
    return pd.DataFrame(
        {
            "cust_no": [f"K{i:05d}" for i in number],
            "firm": [f"Firm {i} Ltd" for i in number],
            "mail": [f"who{i}@firm{i + month * (i % 9 == 0)}.example" for i in number],
            "phone": [f"+49 30 {i:07d}" if i % 2 else "" for i in number],
            "signup": [str(date(2020, 1, 1) + timedelta(days=int(3 * i))) for i in number],
            "logins_30d": rng.poisson(9, n).astype(str),
            "plan": rng.choice(["basic", "plus"], n),
            "note": [f"Call number {i} was about invoice {rng.integers(999)}" for i in number],
        }
    )


def save(table: pd.DataFrame, path: Path, separator: str = ",") -> None:
    """Write a table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, sep=separator, lineterminator="\n")


def save_months(folder: Path, names: Sequence[str], **columns: Any) -> None:
    """Write a file per month, with columns that depend on the month and the table."""
    for month, name in enumerate(names):
        table = make_clients(month)
        extra = {key: make(month, table) for key, make in columns.items()}
        save(table.assign(**extra), folder / name)


def suggested(folder: Path, target: str | None = None) -> Suggestion:
    """Suggest a config for a folder."""
    return schema_suggestion.suggest(sorted(folder.glob("*.csv")), target)


def read_printed(folder: Path, *options: str) -> tuple[dict[str, Any], Config]:
    """Run the command, and return what it printed: as JSON, and as a config that was read."""
    done = CliRunner().invoke(config.make_program, ["suggest", str(folder), *options])
    assert done.exit_code == 0, done.output
    path = folder.parent / "config.json"
    path.write_text(done.stdout)
    return json.loads(done.stdout), config_file.read_config(path)


def as_of(month: int, table: pd.DataFrame) -> list[str]:
    """Return the day of a month's extract, for each row."""
    return [str(DAYS[month])] * len(table)


def label(month: int, table: pd.DataFrame) -> list[str]:
    """Return a label for each row, blank in the newest month."""
    return ["" if month == 3 else str(int(i % 7 == 0)) for i in range(len(table))]


PLAIN = ["a.csv", "b.csv", "c.csv", "d.csv"]
DATED = [f"clients_{day}.csv" for day in DAYS]
ASIDE = {"firm", "mail", "phone", "note"}


def test_the_months_of_the_example_are_understood_whole(tmp_path: Path) -> None:
    months, _ = make_data.make_months(Plan(n_months=4, n_clients=300), make_data.Names.ODD)
    for month in months:
        make_data.write_month(tmp_path, month)

    printed, read = read_printed(tmp_path / "data")

    section = printed["schema"]
    assert (section["key"], section["date"]) == ("Account No", "Snapshot Date")
    assert section["dates"] == {"Signed up": "%d.%m.%Y", "Last Login": "%Y-%m-%d"}
    assert section["thousands"] == ","
    assert section["percent"] == ["Discount", "Storage used"]
    assert section["ratios"] == {"Active users (30d) of Seats": ["Active users (30d)", "Seats"]}
    assert "Logins 30d" in section["changes"]
    assert section["names"] == ["Company"]
    assert set(section["ignore"]) == {"E-Mail", "Tel.", "Website", "Notes"}
    assert read.outcomes is not None
    assert (read.outcomes.input_folder_path, read.outcomes.date) == (
        tmp_path / "outcomes", "Left on",
    )  # fmt: skip
    assert read.tests_latest_rows


def test_one_extract_alone_is_understood_and_asks_for_outcomes(tmp_path: Path) -> None:
    (month,), _ = make_data.make_months(Plan(n_months=1, n_clients=300))
    make_data.write_month(tmp_path, month, outcomes=False)

    suggestion = suggested(tmp_path / "data")

    assert (suggestion.section["key"], suggestion.section["date"]) == (
        "Account No", "Snapshot Date",
    )  # fmt: skip
    assert "target" not in suggestion.section
    assert suggestion.outcomes is not None
    assert "No column and no folder nearby says who left." in "\n".join(suggestion.notices)


@pytest.mark.parametrize("n_months", [1, 2, 3, 4])
def test_from_any_number_of_files_the_key_is_the_key(tmp_path: Path, n_months: int) -> None:
    save_months(tmp_path / "in", PLAIN[:n_months], as_of=as_of, churned=label)

    section = suggested(tmp_path / "in", "churned").section

    assert section["key"] == "cust_no"
    assert {*section["ignore"], *section.get("names", ())} == ASIDE


def test_a_day_in_the_names_of_the_files_is_found(tmp_path: Path) -> None:
    save_months(tmp_path / "in", DATED, churned=label)

    printed, read = read_printed(tmp_path / "in")

    assert (printed["schema"]["date"], printed["schema"]["target"]) == ("file_name", "churned")
    assert printed["schema"]["dates"] == ["signup"]
    assert printed["schema"]["changes"] == ["logins_30d"]
    assert read.tests_latest_rows


def test_a_german_folder_is_read_with_its_marks_and_its_days(tmp_path: Path) -> None:
    for month, day in enumerate(DAYS):
        table = make_clients(month).assign(
            umsatz=[f"{1 + i % 9}.{100 + i},50" for i in range(N)],
            rabatt=[f"{i % 40},5 %" for i in range(N)],
            signup=lambda t: [f"{s[8:]}.{s[5:7]}.{s[:4]}" for s in t["signup"]],
            gekuendigt=label(month, make_clients(month)),
        )
        save(table, tmp_path / "in" / f"Export {day:%d.%m.%Y}.csv", ";")

    printed, _ = read_printed(tmp_path / "in")

    section = printed["schema"]
    assert (section["decimal"], section["thousands"]) == (",", ".")
    assert section["percent"] == ["rabatt"]
    assert section["date"] == {"column": "file_name", "format": "%d.%m.%Y"}
    assert section["dates"] == {"signup": "%d.%m.%Y"}
    assert section["target"] == "gekuendigt"


@pytest.mark.parametrize(
    ("names", "folder", "left_on"),
    [
        (("Mitglieder Februar 2025.csv", "Mitglieder März 2025.csv", "Mitglieder April 2025.csv"),
         "Austritte", "Austritt am"),
        (("abonnes_févr_2025.csv", "abonnes_mars_2025.csv", "abonnes_avril_2025.csv"),
         "résiliations", "Résilié le"),
        (("Feb2025.csv", "Mar2025.csv", "Apr2025.csv"), "leavers", "left_on"),
    ],
)  # fmt: skip
def test_names_of_months_are_the_days_of_extracts_and_outcomes_lie_beside_them(
    tmp_path: Path, names: Sequence[str], folder: str, left_on: str
) -> None:
    save_months(tmp_path / "in", names)
    save(make_clients(0).assign(n=1)[["cust_no", "plan", "n"]], tmp_path / "a plan" / "a.csv")
    save(leavers().rename(columns={"left_on": left_on}), tmp_path / folder / "all.csv")

    printed, read = read_printed(tmp_path / "in")

    assert printed["schema"]["date"] == "file_name"
    assert printed["outcomes"]["date"] == left_on
    assert Path(printed["outcomes"]["input_folder_path"]).name == folder
    assert read.tests_latest_rows


def test_a_label_in_german_wins_over_its_reason_and_over_other_answers(tmp_path: Path) -> None:
    def answer(month: int, table: pd.DataFrame) -> list[str]:
        return ["ja" if label == "1" else "nein" if label else "" for label in LABELS[month]]

    def reason(month: int, table: pd.DataFrame) -> list[str]:
        return [("Umzug", "Preis")[i % 2] if LABELS[month][i] == "1" else "" for i in range(N)]

    LABELS = [["1" if i % 5 < 3 else "0" for i in range(N)], [""] * N]
    save_months(
        tmp_path / "in", DATED[:2],
        **{"gekündigt?": answer, "Grund Kündigung": reason, "Newsletter": answer},
    )  # fmt: skip

    section = suggested(tmp_path / "in").section

    # Most clients leave, so that the rarer label is that of those who stay.
    assert (section["target"], section["positive"]) == ("gekündigt?", "ja")
    assert section["negative"] == "nein"


def test_short_notes_that_repeat_are_no_categories_and_german_usage_may_change(
    tmp_path: Path,
) -> None:
    def notes(month: int, table: pd.DataFrame) -> list[str]:
        return ["will Pause" if i % 3 else f"Knie {i % 60}" for i in range(len(table))]

    def visits(month: int, table: pd.DataFrame) -> list[str]:
        return [str(int(text) + month % 2) for text in table["logins_30d"]]

    columns = {"Bemerkung": notes, "Besuche 30 Tage": visits, "churned": label}
    save_months(tmp_path / "in", DATED, **columns)

    suggestion = suggested(tmp_path / "in")

    assert "Bemerkung" in suggestion.section["ignore"]
    assert "'Bemerkung': it is named as a column of notes" in "\n".join(suggestion.notices)
    assert suggestion.section["changes"] == ["logins_30d", "Besuche 30 Tage"]


def test_a_label_that_is_blank_on_the_newest_day_is_the_target_whatever_its_name(
    tmp_path: Path,
) -> None:
    def stays(month: int, table: pd.DataFrame) -> list[str]:
        return ["" if month == 3 else str(i % 7 != 0) for i in range(len(table))]

    def amount(month: int, table: pd.DataFrame) -> list[str]:
        return ["" if month == 3 else str(i % 50 + month) for i in range(len(table))]

    def newsletter(month: int, table: pd.DataFrame) -> list[str]:
        return [("yes", "no")[i % 2] for i in range(len(table))]

    columns = {"is_active_next_month": stays, "last invoice": amount, "newsletter": newsletter}
    save_months(tmp_path / "in", DATED, **columns)

    suggestion = suggested(tmp_path / "in")

    assert suggestion.section["target"] == "is_active_next_month"
    assert suggestion.section["positive"] == "False"
    assert "last invoice" in suggestion.section["ignore"]
    assert "'last invoice': it is blank on the newest day" in "\n".join(suggestion.notices)


def test_a_status_that_goes_on_after_leaving_is_no_outcome(tmp_path: Path) -> None:
    # One client in ten has gone by the second month, and the files go on to list all.
    for month, name in enumerate(DATED):
        table = make_clients(0)
        status = ["Lapsed" if i % 10 < month else "Active" for i in range(N)]
        save(table.assign(Status=status), tmp_path / "in" / name)

    printed, _ = read_printed(tmp_path / "in")
    notices = "\n".join(suggested(tmp_path / "in").notices)

    assert "target" not in printed["schema"]
    assert printed["schema"]["leaving"] == {"column": "Status", "labels": ["lapsed"]}
    assert printed["outcomes"] == {"horizon_days": 30}
    assert "'Status' is a status, and the clients with 'lapsed' left: 90 clients left" in notices


def test_one_file_with_many_days_is_a_history(tmp_path: Path) -> None:
    tables = []
    for month in range(4):
        table = make_clients(month)
        day = str(DAYS[month])
        tables.append(table.assign(snapshot_month=day, churned=label(month, table)))
    save(pd.concat(tables), tmp_path / "in" / "history.csv")

    suggestion = suggested(tmp_path / "in")

    assert suggestion.section["date"] == "snapshot_month"
    assert suggestion.section["key"] == "cust_no"
    assert suggestion.section["changes"] == ["logins_30d"]
    assert suggestion.tests_latest_rows


def test_a_moment_of_export_is_the_day_of_its_rows(tmp_path: Path) -> None:
    def exported(month: int, table: pd.DataFrame) -> list[str]:
        return [f"{DAYS[month]} 06:00:{i % 60:02d}" for i in range(len(table))]

    save_months(tmp_path / "in", PLAIN, exported_at=exported, churned=label)

    assert suggested(tmp_path / "in").section["date"] == "exported_at"


def leavers(n: int = 40) -> pd.DataFrame:
    """Make a file of outcomes."""
    return pd.DataFrame(
        {
            "cust_no": [f"K{3 * i:05d}" for i in range(n)],
            "left_on": [str(date(2025, 2, 2) + timedelta(days=2 * i)) for i in range(n)],
        }
    )


def test_outcomes_among_the_extracts_are_told_apart(tmp_path: Path) -> None:
    save_months(tmp_path / "in", PLAIN, as_of=as_of)
    save(leavers(), tmp_path / "in" / "zz_left.csv")

    suggestion = suggested(tmp_path / "in")

    assert suggestion.outcomes is not None
    assert suggestion.outcomes["date"] == "left_on"
    # A run refuses outcomes among the client tables.
    assert suggestion.outcomes["input_folder_path"] == str(tmp_path / "outcomes")
    notices = "\n".join(suggestion.notices)
    assert f"zz_left.csv hold outcomes. Move them into {tmp_path / 'outcomes'}" in notices
    read_printed(tmp_path / "in")


def test_outcomes_with_other_names_and_formats_are_described(tmp_path: Path) -> None:
    save_months(tmp_path / "in", PLAIN, as_of=as_of)
    gone = leavers().rename(columns={"cust_no": "Customer", "left_on": "End date"})
    gone["End date"] = [f"{t[5:7]}/{t[8:]}/{t[:4]}" for t in gone["End date"]]
    gone["status"] = ["lost" if i % 4 else "kept" for i in range(len(gone))]
    save(gone, tmp_path / "Cancellations" / "2025.csv")

    printed, read = read_printed(tmp_path / "in")

    assert printed["outcomes"] == {
        "input_folder_path": str(tmp_path / "Cancellations"), "date": "End date",
        "horizon_days": 30, "key": "Customer", "format": "%m/%d/%Y", "label": "status",
    }  # fmt: skip
    assert (read.schema.positive, read.schema.negative) == ("lost", "kept")


def test_clients_who_vanished_are_listed_with_a_day_within_the_horizon(tmp_path: Path) -> None:
    save_months(tmp_path / "in", DATED)
    # An addition of one client, who is in no other file, is no extract from which others vanish.
    save(make_clients(9).tail(1), tmp_path / "in" / "clients_2025-05-20.csv")
    (tmp_path / "outcomes").mkdir()

    assert "90 clients of older extracts" in "\n".join(suggested(tmp_path / "in").notices)
    done = CliRunner().invoke(config.make_program, ["leavers", str(tmp_path / "in")])
    (tmp_path / "outcomes" / "left.csv").write_text(done.stdout)
    printed, _ = read_printed(tmp_path / "in")

    rows = [line.split(",") for line in done.stdout.splitlines()]
    assert rows[0] == ["cust_no", "left_on"]
    # The next extract is 28, 31 and 30 days after the last row.
    days = {"2025-03-01": 30, "2025-03-31": 30, "2025-05-01": 30}
    assert {day: [row[1] for row in rows].count(day) for day in days} == days
    assert len(rows) == 91
    assert printed["outcomes"]["date"] == "left_on"


def test_those_who_left_by_their_rows_are_listed_with_that_day(tmp_path: Path) -> None:
    # The files go on to list all: some with a day of leaving, others with a status.
    def left_on(month: int, table: pd.DataFrame) -> list[str]:
        return [f"2025-0{2 + i % 3}-20" if i % 10 == 0 and i % 3 < month else "" for i in range(N)]

    def status(month: int, table: pd.DataFrame) -> list[str]:
        return ["Lapsed" if i % 10 == 1 and i % 3 < month else "Active" for i in range(N)]

    for month, name in enumerate(DATED):
        table = make_clients(0)
        columns = {"left on": left_on(month, table), "Status": status(month, table)}
        save(table.assign(**columns), tmp_path / "in" / name)

    notices = "\n".join(suggested(tmp_path / "in").notices)
    done = CliRunner().invoke(config.make_program, ["leavers", str(tmp_path / "in")])

    rows = dict(line.split(",") for line in done.stdout.splitlines())
    assert "30 clients have left by 'Status' and not by 'left on', and stay on the list" in notices
    assert len(rows) == 1 + 2 * N // 10
    assert (rows["K00010"], rows["K00011"]) == ("2025-03-20", "2025-05-01")


def test_nobody_can_vanish_from_extracts_without_days(tmp_path: Path) -> None:
    save_months(tmp_path / "in", PLAIN)

    done = CliRunner().invoke(config.make_program, ["leavers", str(tmp_path / "in")])

    assert done.exit_code == 65
    assert done.stdout == ""


def test_a_mistyped_day_of_leaving_does_not_hide_the_outcomes(tmp_path: Path) -> None:
    save_months(tmp_path / "in", DATED)
    gone = leavers(200).assign(left_on=lambda t: [f"2025-0{2 + i % 3}-15" for i in range(len(t))])
    gone.loc[0, "left_on"] = "2025-02-31"
    save(gone, tmp_path / "left" / "all.csv")

    assert (suggested(tmp_path / "in").outcomes or {})["date"] == "left_on"


def test_a_quarter_between_extracts_is_judged_by_a_quarter(tmp_path: Path) -> None:
    days = (date(2024, 7, 1), date(2024, 10, 1), date(2025, 1, 1), date(2025, 4, 1))
    save_months(tmp_path / "in", [f"c_{day}.csv" for day in days])
    save(leavers(), tmp_path / "left" / "all.csv")

    outcomes = suggested(tmp_path / "in").outcomes

    assert outcomes is not None
    assert outcomes["horizon_days"] == 90


def test_clients_that_come_back_without_a_day_are_said_to_need_one(tmp_path: Path) -> None:
    save_months(tmp_path / "in", PLAIN, churned=label)

    suggestion = suggested(tmp_path / "in")

    assert suggestion.section["ids"] == ["cust_no"]
    assert "Put the day into each name" in "\n".join(suggestion.notices)


def test_codes_with_leading_zeros_are_categories_or_left_out(tmp_path: Path) -> None:
    def branch(month: int, table: pd.DataFrame) -> list[str]:
        return [f"{i % 12:03d}" for i in range(len(table))]

    def postcode(month: int, table: pd.DataFrame) -> list[str]:
        return [f"{(i * 7919) % 140 + 1000:05d}" for i in range(len(table))]

    save_months(tmp_path / "in", DATED, branch=branch, postcode=postcode, churned=label)

    section = suggested(tmp_path / "in").section

    assert section["categorical"] == ["plan", "branch"]
    assert "postcode" in section["ignore"]


def test_a_day_of_leaving_in_the_row_is_a_leak(tmp_path: Path) -> None:
    def cancelled_on(month: int, table: pd.DataFrame) -> list[str]:
        return [f"2025-06-{i % 28 + 1:02d}" if i % 7 == 0 else "" for i in range(len(table))]

    save_months(tmp_path / "in", DATED, cancelled_on=cancelled_on, churned=label)

    suggestion = suggested(tmp_path / "in")

    assert "cancelled_on" in suggestion.section["ignore"]
    assert "cancelled_on" not in suggestion.section["dates"]
    assert "only those who left have" in "\n".join(suggestion.notices)


@pytest.mark.parametrize(
    ("write_amount", "marks"),
    [
        (lambda n: f"${n:,}.50", {"thousands": ",", "currency": {"fee": "$"}}),
        (
            lambda n: f"-US$ {n:,}.50" if n % 4 else f"US$ {n:,}",
            {"thousands": ",", "currency": {"fee": "US$"}},
        ),
        (
            lambda n: f"{n:,} €".replace(",", "."),
            {"decimal": ",", "thousands": ".", "currency": {"fee": "€"}},
        ),
        (lambda n: f"CHF {n}" if n % 3 else "", {"currency": {"fee": "CHF"}}),
        (lambda n: f"{n}.50kr", {"currency": {"fee": "kr"}}),
    ],
)
def test_amounts_with_the_sign_of_a_currency_are_numbers(
    tmp_path: Path, write_amount: Callable[[int], str], marks: dict[str, Any]
) -> None:
    def fee(month: int, table: pd.DataFrame) -> list[str]:
        return [write_amount(1000 + 37 * (i % 90) + month) for i in range(len(table))]

    save_months(tmp_path / "in", DATED, fee=fee, churned=label)

    suggestion = suggested(tmp_path / "in")

    found = {key: suggestion.section.get(key) for key in ("decimal", "thousands", "currency")}
    assert {key: value for key, value in found.items() if value} == marks
    assert "fee" not in suggestion.section["ignore"]


def test_amounts_in_several_currencies_are_said_to_be_none(tmp_path: Path) -> None:
    def fee(month: int, table: pd.DataFrame) -> list[str]:
        return [f"{'$€'[i % 2]} {i % 50 + month}.50" for i in range(len(table))]

    save_months(tmp_path / "in", DATED, fee=fee, churned=label)

    suggestion = suggested(tmp_path / "in")

    assert "fee" in suggestion.section["ignore"]
    assert "'fee': its amounts are in several currencies, $ and €" in "\n".join(suggestion.notices)


def test_days_before_months_are_told_from_months_before_days(tmp_path: Path) -> None:
    def american(month: int, table: pd.DataFrame) -> list[str]:
        return [f"{DAYS[month]:%m/%d/%Y}"] * len(table)

    save_months(tmp_path / "in", PLAIN, report_date=american, churned=label)

    suggestion = suggested(tmp_path / "in")

    assert suggestion.section["date"] == {"column": "report_date", "format": "%m/%d/%Y"}
    assert "fit several formats" in "\n".join(suggestion.notices)


def test_a_split_with_days_is_by_time_and_client_and_keeps_todays_clients(
    tmp_path: Path,
) -> None:
    save_months(tmp_path / "in", DATED, as_of=as_of, churned=label)

    printed, _ = read_printed(tmp_path / "in", "--split", "0.2")

    train, test = (
        pd.read_csv(Path(printed[key]) / f"{name}.csv", dtype=str, keep_default_na=False)
        for key, name in (("input_folder_path", "traindata"), ("test_data_path", "testdata"))
    )
    labelled = train[train["churned"] != ""]
    assert set(test["as_of"]) == {"2025-04-01"}
    assert labelled["as_of"].max() < "2025-04-01"
    assert not set(labelled["cust_no"]) & set(test["cust_no"])
    assert (train["churned"] == "").sum() == N
    assert 40 < len(test) < 80


def test_a_split_keeps_todays_clients_whose_file_has_no_label(tmp_path: Path) -> None:
    table = make_clients(0)
    save(table.assign(churned=[str(int(i % 5 == 0)) for i in range(N)]), tmp_path / "in" / "a.csv")
    save(make_clients(20, n=30), tmp_path / "in" / "today.csv")

    printed, _ = read_printed(tmp_path / "in", "--split", "0.2")

    place = Path(printed["input_folder_path"]) / "traindata.csv"
    train = pd.read_csv(place, dtype=str, keep_default_na=False)
    assert printed["schema"]["target"] == "churned"
    assert printed["schema"]["ids"] == ["cust_no"]
    assert (train["churned"] == "").sum() == 30
    assert len(train) == N - 60 + 30


def test_an_extract_and_its_correction_of_the_same_day_have_the_same_clients(
    tmp_path: Path,
) -> None:
    save_months(tmp_path / "data", DATED)
    save(make_clients(3), tmp_path / "data" / f"clients_{DAYS[3]}_corrected.csv")

    section = suggested(tmp_path / "data").section

    assert (section["key"], section["date"]) == ("cust_no", "file_name")


def test_a_month_whose_keys_a_program_rounded_hides_no_key_and_is_named(tmp_path: Path) -> None:
    save_months(tmp_path / "data", DATED)
    path = tmp_path / "data" / DATED[2]
    save(make_clients(2).assign(cust_no="3.00000E+07"), path)

    suggestion = suggested(tmp_path / "data")

    assert suggestion.section["key"] == "cust_no"
    (told,) = [line for line in suggestion.notices if "of another of its rows" in line]
    assert told.startswith(f"{path.name} has 299 rows with a 'cust_no' of another of its rows")


def test_a_column_that_is_mostly_blank_is_no_key(tmp_path: Path) -> None:
    n = 400
    rng = np.random.default_rng(1)
    table = pd.DataFrame({f"Var{k}": rng.poisson(5, n).astype(str) for k in range(5)})
    table["Var5"] = [str(i) if i % 50 == 0 else "" for i in range(n)]
    save(table.assign(label=rng.choice(["-1", "1"], n)), tmp_path / "data" / "train.csv")

    suggestion = suggested(tmp_path / "data", "label")

    assert suggestion.section["ids"] == []


def test_a_column_that_the_newest_extract_lacks_is_said_to_be_missing_there(
    tmp_path: Path,
) -> None:
    save_months(tmp_path / "data", DATED)
    save(make_clients(3).rename(columns={"logins_30d": "visits"}), tmp_path / "data" / DATED[3])

    suggestion = suggested(tmp_path / "data")

    assert "logins_30d" in suggestion.section["ignore"]
    (told,) = [line for line in suggestion.notices if "Ignored: 'logins_30d'" in line]
    assert "the newest extract lacks it" in told


@pytest.mark.parametrize(
    ("words", "n_numbers", "is_told"),
    [(["?"], 5, True), (["4+"], 3, False), (["no line"], 50, True), (list("abcd"), 50, False)],
)
def test_a_word_for_a_missing_number_is_named(
    tmp_path: Path, words: list[str], n_numbers: int, *, is_told: bool
) -> None:
    table = make_clients(0)
    cells = [words[i % len(words)] if i % 12 < len(words) else str(i % n_numbers) for i in range(N)]
    save(table.assign(speed=cells, left=["yes", "no", "no"] * (N // 3)), tmp_path / "in" / "a.csv")

    suggestion = suggested(tmp_path / "in")

    told = [line for line in suggestion.notices if line.startswith("'speed' has numbers")]
    assert bool(told) == is_told
    assert not told or repr(words[0]) in told[0]


def test_without_a_key_the_column_that_comes_nearest_is_named(tmp_path: Path) -> None:
    save_months(tmp_path / "data", DATED)
    for path in (tmp_path / "data").iterdir():
        table = pd.read_csv(path, dtype=str)[["logins_30d"]]
        save(table.assign(code=[f"c{i // 2}" for i in range(N)], size="1"), path)

    with pytest.raises(DatasetError, match="no column identifies the clients.*'code'"):
        suggested(tmp_path / "data")


@pytest.mark.parametrize(
    ("form", "written"),
    [("%Y-%m", "%Y-%m"), ("%Y%m", "%Y%m"), ("%m/%Y", "%m/%Y"), ("%b-%y", "%b-%y")],
)
def test_a_column_of_months_is_the_day_of_its_rows(tmp_path: Path, form: str, written: str) -> None:
    def period(month: int, table: pd.DataFrame) -> list[str]:
        """Return the month of each row."""
        return [f"{DAYS[month]:{form}}"] * len(table)

    save_months(tmp_path / "in", PLAIN, period=period)

    printed, read = read_printed(tmp_path / "in")

    assert printed["schema"]["date"] == {"column": "period", "format": written}
    assert read.schema.date_column is not None


def labels_of_extracts(folder: Path) -> None:
    """Write a file of labels for each extract, with its month: who is not in the next one left."""
    for month, day in enumerate(DAYS[:3]):
        table, later = make_clients(month), set(make_clients(month + 1)["cust_no"])
        left = (~table["cust_no"].isin(later)).astype(int)
        told = pd.DataFrame({"cust_no": table["cust_no"], "churned": left, "month": f"{day:%Y-%m}"})
        save(told, folder / f"labels_{month}.csv")


def test_labels_with_the_month_of_their_extract_have_no_month_of_leaving(tmp_path: Path) -> None:
    ends = [day + timedelta(days=27) for day in DAYS]
    save_months(tmp_path / "in", [f"clients_{end}.csv" for end in ends])
    labels_of_extracts(tmp_path / "labels")
    for path in (tmp_path / "in").iterdir():
        month = int(path.stem[13:15])
        path.rename(path.with_name(f"clients_2025-{month:02d}.csv"))

    suggestion = suggested(tmp_path / "in")

    (told,) = [line for line in suggestion.notices if "are left out" in line]
    assert "'month' is the month of the extract, and no month of leaving" in told
    assert suggestion.outcomes is not None
    assert "label" not in suggestion.outcomes


@pytest.mark.parametrize(
    ("since", "words"),
    [("", ""), ("2019-05-05", "Leave it blank for them")],
)
def test_a_status_of_everybody_needs_no_day_of_those_who_stay(
    tmp_path: Path, since: str, words: str
) -> None:
    save_months(tmp_path / "in", DATED)
    left = leavers().rename(columns={"left_on": "since"}).assign(status="lost")
    others = make_clients(3)[["cust_no"]].assign(since=since, status="active")
    save(
        pd.concat([left, others[~others["cust_no"].isin(left["cust_no"])]]), tmp_path / "out/a.csv"
    )

    suggestion = suggested(tmp_path / "in")

    doubts = [line for line in suggestion.notices if "are left out" in line]
    assert bool(doubts) == bool(words)
    assert not doubts or words in doubts[0]
    assert suggestion.outcomes is not None
    assert "label" not in suggestion.outcomes


def test_a_day_before_the_first_row_is_no_day_of_leaving(tmp_path: Path) -> None:
    save_months(tmp_path / "in", DATED)
    left = leavers().rename(columns={"left_on": "since"}).assign(status="lost")
    others = make_clients(3)[["cust_no"]].assign(since="2019-05-05", status="active")
    others.loc[::9, "status"] = "paused"
    save(pd.concat([left, others]), tmp_path / "out" / "a.csv")

    suggestion = suggested(tmp_path / "in")

    assert any("is before their first row" in line for line in suggestion.notices)


def test_contracts_that_end_with_a_long_month_are_within_the_horizon(tmp_path: Path) -> None:
    # A client of the first day of a month is in the extract of that day.
    save_months(tmp_path / "in", [f"clients_2025-{month:02d}-01.csv" for month in (5, 6, 7, 8)])
    gone = leavers().assign(left_on=[f"2025-0{6 + i % 3}-01" for i in range(len(leavers()))])
    save(gone, tmp_path / "out" / "a.csv")

    suggestion = suggested(tmp_path / "in")

    assert suggestion.outcomes is not None
    assert suggestion.outcomes["horizon_days"] == 31


def test_a_word_for_a_missing_key_hides_no_key_and_is_named(tmp_path: Path) -> None:
    save_months(tmp_path / "in", DATED)
    for path in (tmp_path / "in").iterdir():
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table.loc[::12, "cust_no"] = "NULL"
        save(table.rename(columns={"cust_no": "code"}), path)

    suggestion = suggested(tmp_path / "in")

    assert suggestion.section["key"] == "code"
    assert any(line.startswith("The key 'NULL' likely") for line in suggestion.notices)


def test_a_row_of_sums_is_no_client(tmp_path: Path) -> None:
    save_months(tmp_path / "in", DATED)
    path = tmp_path / "in" / DATED[0]
    path.write_text(path.read_text() + "Summe,,,,,2700,,\n")

    assert any(line.startswith("The client 'Summe'") for line in suggested(tmp_path / "in").notices)


@pytest.mark.parametrize(("n_months", "is_cut"), [(4, True), (4, False), (3, True)])
def test_an_extract_that_was_cut_is_no_month_in_which_many_left(
    tmp_path: Path, n_months: int, *, is_cut: bool
) -> None:
    save_months(tmp_path / "in", DATED)
    for name in DATED[: 4 - n_months]:
        (tmp_path / "in" / name).unlink()
    path = tmp_path / "in" / DATED[3]
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: N // 2] if is_cut else lines))

    done = CliRunner().invoke(config.make_program, ["leavers", str(tmp_path / "in")])

    told = "clients of the extract of 2025-04-01 are in no later one, and usually 10% are"
    assert (told in done.stderr) == is_cut
    assert done.stdout.startswith("cust_no,left_on\n")


def stamp(month: int, table: pd.DataFrame) -> list[str]:
    """Return the day of a month's extract as a spreadsheet's number, for each row."""
    return [str(DAYS[month].toordinal() - date(1899, 12, 30).toordinal())] * len(table)


def test_days_of_a_spreadsheet_are_no_months_of_another_millennium(tmp_path: Path) -> None:
    save_months(tmp_path / "in", PLAIN, period=stamp, last_login=stamp)

    suggestion = suggested(tmp_path / "in")

    assert "date" not in suggestion.section
    assert "'period' looks like dates as days of a spreadsheet" in "\n".join(suggestion.notices)


def test_dates_as_numbers_beside_the_day_of_the_row_are_no_measures(tmp_path: Path) -> None:
    save_months(tmp_path / "in", DATED, last_login=stamp, churned=label)

    suggestion = suggested(tmp_path / "in")

    assert "last_login" in suggestion.section["ignore"]
    assert "'last_login': it looks like dates as days of" in "\n".join(suggestion.notices)


LEAVERS = pd.DataFrame(
    {
        "cust_no": [f"K{i:05d}" for i in range(30)],
        "gone on": ["2025-03-14"] * 15 + ["20.03.2025"] * 15,
    }
)
TWO_FORMATS = LEAVERS.assign(**{"gone on": ["14.03.2025"] * 15 + ["03/20/2025"] * 15})


@pytest.mark.parametrize(
    ("leavers", "reason"),
    [
        (TWO_FORMATS, "'gone on' has dates of several formats; write all of them in one"),
        (LEAVERS.assign(cust_no="?"), "none of its columns has the values of 'cust_no'"),
        (LEAVERS[["cust_no"]].assign(why="price"), "it needs the day of leaving"),
    ],
)
def test_a_folder_of_leavers_that_cannot_be_used_is_named_with_the_reason(
    tmp_path: Path, leavers: pd.DataFrame, reason: str
) -> None:
    save_months(tmp_path / "in", DATED)
    save(leavers, tmp_path / "cancelled" / "a.csv")

    notices = "\n".join(suggested(tmp_path / "in").notices)

    assert f"The files in {tmp_path / 'cancelled'} are left out: " in notices
    assert reason in notices
    assert "No other column and no other folder nearby says who left." in notices


def test_a_file_of_leavers_may_have_many_columns_and_a_second_day(tmp_path: Path) -> None:
    save_months(tmp_path / "in", DATED)
    more = {f"field {i}": "x" for i in range(9)}
    leavers = LEAVERS[:15].assign(**more, letter="2025-03-01")
    save(leavers, tmp_path / "cancelled" / "a.csv")

    suggestion = suggested(tmp_path / "in")

    assert suggestion.outcomes is not None
    assert suggestion.outcomes["date"] == "gone on"
    assert "'letter' has days, too." in "\n".join(suggestion.notices)


@pytest.mark.parametrize("n_rows", [0, 30])
def test_a_file_without_any_leaver_yet_is_taken_for_one_of_leavers(
    tmp_path: Path, n_rows: int
) -> None:
    save_months(tmp_path / "in", DATED)
    save(LEAVERS[:n_rows].assign(**{"gone on": ""}), tmp_path / "cancelled" / "a.csv")

    suggestion = suggested(tmp_path / "in")

    assert suggestion.outcomes is not None
    assert suggestion.outcomes["input_folder_path"] == str(tmp_path / "cancelled")
    assert suggestion.outcomes["date"] == "gone on"
    assert "No day is filled in yet" in "\n".join(suggestion.notices)


def test_a_log_of_events_is_left_out_with_the_rows_to_take(tmp_path: Path) -> None:
    save_months(tmp_path / "in", DATED)
    joined = make_clients(0)[["cust_no"]].assign(event="joined", day="2020-03-01")
    left = joined[:30].assign(event="left", day="2025-03-14")
    called = left.assign(event="called", day="2025-03-10")
    save(pd.concat([joined, left, called]), tmp_path / "crm" / "log.csv")

    notices = "\n".join(suggested(tmp_path / "in").notices)

    assert f"The files in {tmp_path / 'crm'} are left out" in notices
    assert "Of a log of events take the rows of leaving alone." in notices


def test_a_table_of_clients_nearby_is_no_file_of_leavers(tmp_path: Path) -> None:
    save_months(tmp_path / "in", DATED)
    day = np.where(np.arange(N) % 9 == 0, "2025-03-14", "")
    save(make_clients(0).assign(**{"gone on": day}), tmp_path / "archive" / "a.csv")

    suggestion = suggested(tmp_path / "in")

    assert suggestion.outcomes is not None
    assert suggestion.outcomes["input_folder_path"] == str(tmp_path / "outcomes")
    assert "are left out" not in "\n".join(suggestion.notices)


def test_two_columns_that_identify_clients_together_are_named(tmp_path: Path) -> None:
    def branch(month: int, table: pd.DataFrame) -> list[str]:
        """Return the branch of each client."""
        return [f"{int(key[1:]) % 7:02d}" for key in table["cust_no"]]

    for month, name in enumerate(PLAIN):
        table = make_clients(month)[["cust_no", "signup", "logins_30d", "plan"]]
        table.insert(0, "branch", branch(month, table))
        table["cust_no"] = [str(int(key[1:]) // 7) for key in table["cust_no"]]
        save(
            table.assign(as_of=str(DAYS[month]), churned=label(month, table)),
            tmp_path / "in" / name,
        )

    notices = "\n".join(suggested(tmp_path / "in").notices)

    assert "'branch' and 'cust_no' do so together" in notices


@pytest.mark.parametrize("has_id", [True, False])
def test_a_folder_of_transactions_asks_for_a_row_per_client(
    tmp_path: Path, *, has_id: bool
) -> None:
    for month, name in enumerate(DATED):
        holders = make_clients(month)["cust_no"].repeat(3)
        table = pd.DataFrame(
            {"holder": holders, "shop": "abc", "amount": np.arange(len(holders)) / 7 + month}
        )
        if has_id:
            table.insert(0, "transaction", np.arange(len(holders)) + 1_000 * month)
        save(table, tmp_path / "in" / name)

    with pytest.raises(DatasetError, match=r"'holder' stands in 3\.0 rows of a file on average"):
        suggested(tmp_path / "in")


@pytest.mark.parametrize(
    ("form", "expected"),
    [("%m-%d-%Y", "%m-%d-%Y"), ("%d_%m_%Y", "%d_%m_%Y"), ("%d.%m.%y", "%d.%m.%y"),
     ("%y%m%d", "%y%m%d"), ("%m%d%Y", "%m%d%Y")],
)  # fmt: skip
@pytest.mark.parametrize("day", [1, 6, 28])
def test_days_in_names_are_of_the_order_that_has_the_same_day_of_each_month(
    tmp_path: Path, form: str, expected: str, day: int
) -> None:
    names = [f"clients {date(2025, month, day).strftime(form)}.csv" for month in (2, 3, 4, 5)]
    save_months(tmp_path / "in", names, churned=label)

    suggestion = suggested(tmp_path / "in")

    assert suggestion.section["date"] == {"column": "file_name", "format": expected}
    is_ambiguous = day < 13 and form not in ("%y%m%d",)
    assert ("fit several formats" in "\n".join(suggestion.notices)) == is_ambiguous


def test_a_column_of_days_that_all_stand_for_none_is_ignored(tmp_path: Path) -> None:
    save_months(tmp_path / "in", DATED, last_visit=lambda _, table: ["1900-01-01"] * len(table))

    suggestion = suggested(tmp_path / "in")

    assert "last_visit" not in suggestion.section["dates"]
    assert "Ignored: 'last_visit': it has no date." in suggestion.notices


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%m/%d/%Y", "%d-%b-%y", "%Y%m%d"])
def test_dates_in_iso_and_in_another_format_are_both_read(tmp_path: Path, form: str) -> None:
    def visit(month: int, table: pd.DataFrame) -> list[str]:
        """Return the days of two systems."""
        days = [DAYS[month] - timedelta(days=number % 25) for number in range(len(table))]
        return [f"{day:{form}}" if i % 3 else str(day) for i, day in enumerate(days)]

    save_months(tmp_path / "in", DATED, last_visit=visit)

    suggestion = suggested(tmp_path / "in")

    assert suggestion.section["dates"]["last_visit"] == form
    told = f"The dates of 'last_visit' are in ISO 8601 and in {form!r}: both are read."
    assert told in suggestion.notices
    assert not [line for line in suggestion.notices if "fit several formats" in line]


@pytest.mark.parametrize("mark", ["{}.0", "0{}", "K-{}", "x{}"])
def test_keys_written_otherwise_in_some_files_are_told_of(tmp_path: Path, mark: str) -> None:
    save_months(tmp_path / "in", DATED)
    for place, path in enumerate(sorted((tmp_path / "in").iterdir())):
        table = pd.read_csv(path, dtype=str)
        numbers = 70000 + table["cust_no"].str[1:].astype(int)
        spell = mark.format if place % 2 else str
        save(table.assign(cust_no=[spell(number) for number in numbers]), path)

    notices = "\n".join(suggested(tmp_path / "in").notices)

    is_told = "'cust_no' that is written otherwise in one file than in another, such as" in notices
    assert is_told == (mark in ("{}.0", "0{}"))


def test_dates_without_a_known_format_are_named_once(tmp_path: Path) -> None:
    def visit(month: int, table: pd.DataFrame) -> list[str]:
        """Return days in two formats beside each other, neither of them ISO 8601."""
        return [f"{DAYS[month]:{'%d.%m.%Y' if i % 2 else '%m/%d/%Y'}}" for i in range(len(table))]

    save_months(tmp_path / "in", DATED, last_visit=visit)

    (told,) = [line for line in suggested(tmp_path / "in").notices if "'last_visit'" in line]

    assert told == (
        "Ignored: 'last_visit': it looks like dates, and no known format fits all of them; write"
        " them in one, or their format into schema.dates."
    )


def test_words_for_no_date_leave_a_column_of_dates_and_files_of_outcomes(tmp_path: Path) -> None:
    def complaint(month: int, table: pd.DataFrame) -> list[str]:
        """Return a day for a tenth of the clients."""
        return [str(DAYS[month] - timedelta(days=i)) if i % 10 == 0 else "NULL" for i in range(N)]

    save_months(tmp_path / "in", DATED, last_complaint=complaint)
    day = ["2025-03-14" if i % 9 == 0 else "N/A" for i in range(N)]
    save(make_clients(0)[["cust_no"]].assign(left_on=day), tmp_path / "outcomes" / "a.csv")

    suggestion = suggested(tmp_path / "in")

    assert "last_complaint" in suggestion.section["dates"]
    assert "In 'last_complaint' 'NULL' is taken for no date." in suggestion.notices
    assert suggestion.outcomes is not None
    assert suggestion.outcomes["date"] == "left_on"


@pytest.mark.parametrize("names", [PLAIN, DATED])
def test_rows_are_of_the_end_of_their_period_and_stamps_of_a_file_are_no_features(
    tmp_path: Path, names: list[str]
) -> None:
    def stamp_of(n_days: int) -> Callable[[int, pd.DataFrame], list[str]]:
        """Make a day of the extract, some days away, for each row."""
        return lambda month, table: [str(DAYS[month] + timedelta(days=n_days))] * len(table)

    save_months(
        tmp_path / "in", names, period_start=stamp_of(-30), period_end=stamp_of(0),
        created_at=stamp_of(2), churned=label,
    )  # fmt: skip

    section = suggested(tmp_path / "in").section

    assert section["date"] == "period_end"
    assert section["dates"] == ["signup"]
    assert {"period_start", "created_at"} < set(section["ignore"])


def test_the_day_in_the_name_counts_before_the_start_of_a_period(tmp_path: Path) -> None:
    save_months(tmp_path / "in", DATED, period_start=as_of, churned=label)

    assert suggested(tmp_path / "in").section["date"] == "file_name"


def numbered(_month: int, table: pd.DataFrame) -> list[str]:
    """Number the rows of a file."""
    return [str(place + 1) for place in range(len(table))]


@pytest.mark.parametrize("name", ["Account Nr", "Lfd. Nr."])
def test_numbers_of_rows_are_no_key_whatever_their_name(tmp_path: Path, name: str) -> None:
    save_months(tmp_path / "in", PLAIN, as_of=as_of, churned=label, **{name: numbered})
    for path in (tmp_path / "in").iterdir():
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        save(table.rename(columns={"cust_no": "IBAN"}), path)

    section = suggested(tmp_path / "in").section

    assert section["key"] == "IBAN"
    assert name in section["ignore"]


def test_clients_may_be_numbered_without_a_gap(tmp_path: Path) -> None:
    for month, name in enumerate(PLAIN):
        table = make_clients(0).drop(columns="cust_no").assign(as_of=str(DAYS[month]))
        table["serial"] = numbered(month, table)
        save(table.assign(churned=label(month, table)), tmp_path / "in" / name)

    assert suggested(tmp_path / "in").section["key"] == "serial"


def test_of_customers_with_several_contracts_the_contract_is_the_key(tmp_path: Path) -> None:
    def customer(_month: int, table: pd.DataFrame) -> list[str]:
        """Return a customer of two contracts for each row."""
        return [str(int(key[1:]) // 2 + 500) for key in table["cust_no"]]

    save_months(tmp_path / "in", PLAIN, as_of=as_of, churned=label, Kundennummer=customer)
    for path in (tmp_path / "in").iterdir():
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        save(table.rename(columns={"cust_no": "contract_no"}), path)

    section = suggested(tmp_path / "in").section

    assert section["key"] == "contract_no"
    assert "Kundennummer" in section["ignore"]


def test_without_a_day_the_reason_begins_with_the_missing_day(tmp_path: Path) -> None:
    for month, name in enumerate(PLAIN):
        save(
            make_clients(month)[["cust_no", "logins_30d"]].assign(q="2025-Q1"),
            tmp_path / "in" / name,
        )

    with pytest.raises(DatasetError, match=r"^Clients come back in the 4 files, by 'cust_no'"):
        suggested(tmp_path / "in")
