"""Outcome files: who left when, which rows are mature, and which files belong to no row."""

import re
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scripts.core.config import OutcomeSettings, Schema
from scripts.data import dated_rows, known_outcomes, outcome_files, outcomes
from scripts.data.cells import EPOCH, UNLABELLED
from scripts.engine import dated_notices

SCHEMA = Schema(target="left", ids=("id",), numeric=("n",), date="snapshot")
TODAY = date(2026, 12, 31).toordinal() - EPOCH


def day(text: str) -> int:
    return date.fromisoformat(text).toordinal() - EPOCH


def make_table(*rows: tuple[str, str]) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "id": [client for client, _ in rows],
            "snapshot": [day(text) for _, text in rows],
            "n": 1.0,
            "left": UNLABELLED,
        }
    )
    return number(table)


def number(table: pd.DataFrame) -> pd.DataFrame:
    return dated_rows.number_clients(dated_rows.sort_rows(table, SCHEMA), SCHEMA)


def settings(folder: Path, horizon_days: int = 90, **more: str) -> OutcomeSettings:
    return OutcomeSettings(
        input_folder_path=folder, date="left_on", horizon_days=horizon_days, **more
    )


def read(
    folder: Path, table: pd.DataFrame, chosen: OutcomeSettings, *contents: str
) -> tuple[known_outcomes.KnownOutcomes, outcomes.RowOutcomes]:
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"{number}.csv")
        paths[-1].write_text(content)
    known = outcome_files.read_outcomes(paths, chosen, table, SCHEMA, TODAY)
    return known, outcomes.label_rows(table, known, chosen, SCHEMA)


def test_a_row_is_positive_negative_or_not_mature(tmp_path: Path) -> None:
    table = make_table(
        ("a", "2026-01-31"), ("b", "2026-01-31"), ("c", "2026-01-31"),
        ("a", "2026-04-30"), ("b", "2026-04-30"), ("c", "2026-06-30"),
    )  # fmt: skip
    content = "id,left_on\na,2026-03-15\nb,2026-06-01\nc,\nz,2026-07-31\n"

    known, found = read(tmp_path, table, settings(tmp_path), content)

    assert known.complete_until == day("2026-07-31")
    assert found.labels.tolist() == [1, 0, 0, 1, 0, UNLABELLED]
    assert found.is_mature.tolist() == [True, False, True, True, True, False]
    assert found.left_before.tolist() == [False, True, False, False, False, False]
    assert found.left_after.tolist() == [True, False, True, True, False, False]


def test_who_left_is_gone_until_an_extract_without_a_row_of_the_client(tmp_path: Path) -> None:
    days = ("2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31")
    rows = [("kept", day) for day in days]
    rows += [("back", day) for day in days if day != "2026-03-31"]
    rows += [("twice", day) for day in days if day != "2026-03-31"]
    table = make_table(*rows)
    content = "id,left_on\nkept,2026-02-10\nback,2026-02-10\ntwice,2026-02-10\ntwice,2026-05-31\n"
    known, _ = read(tmp_path, table, settings(tmp_path), content)
    whole = np.array([day(text) for text in days])
    known = outcome_files.complete_by_rows(known, whole, settings(tmp_path), SCHEMA)

    found = outcomes.label_rows(table, known, settings(tmp_path), SCHEMA)

    gone = {name: found.is_gone[table["id"] == name].tolist() for name in ("kept", "back", "twice")}
    assert gone["kept"] == [False, True, True, True, True]
    assert gone["back"] == [False, True, False, False]
    assert gone["twice"] == [False, True, False, True]


def test_a_later_label_of_those_who_stayed_means_back(tmp_path: Path) -> None:
    days = ("2026-01-31", "2026-02-28", "2026-03-31")
    table = make_table(*[("a", day) for day in days], *[("b", day) for day in days])
    chosen = settings(tmp_path, label="gone")
    content = "id,left_on,gone\na,2026-02-10,1\na,2026-03-20,0\nb,2026-02-10,1\n"
    known, _ = read(tmp_path, table, chosen, content)
    whole = np.array([day(text) for text in days])
    known = outcome_files.complete_by_rows(known, whole, chosen, SCHEMA)

    found = outcomes.label_rows(table, known, chosen, SCHEMA)

    assert found.is_gone.tolist() == [False, False, False, False, True, True]


def test_those_who_left_early_wait_for_those_who_may_still_leave(tmp_path: Path) -> None:
    table = make_table(("a", "2026-05-31"), ("b", "2026-05-31"))

    _, found = read(tmp_path, table, settings(tmp_path), "id,left_on\na,2026-06-10\n")

    assert found.labels.tolist() == [1, UNLABELLED]
    assert not found.is_mature.any()


def test_outcomes_are_complete_until_the_declared_day(tmp_path: Path) -> None:
    table = make_table(("a", "2026-05-31"), ("b", "2026-05-31"))
    declared = settings(tmp_path, complete_until="2026-08-29")

    _, found = read(tmp_path, table, declared, "id,left_on\na,2026-06-10\n")

    assert found.is_mature.all()


def test_a_mistyped_year_does_not_make_every_row_mature(tmp_path: Path) -> None:
    table = make_table(("a", "2026-05-31"), ("b", "2026-05-31"))

    known, found = read(
        tmp_path, table, settings(tmp_path), "id,left_on\na,2206-06-10\nb,2026-06-10\n"
    )

    assert known.complete_until == day("2026-06-10")
    assert not found.is_mature.any()


def test_nobody_has_left_on_a_day_to_come_and_strangers_are_counted(tmp_path: Path) -> None:
    table = make_table(("a", "2026-05-31"), ("b", "2026-05-31"))
    rows = ("a,2031-12-12", "b,2026-06-10", "x,2026-06-10", "y,2026-06-11")

    known, found = read(tmp_path, table, settings(tmp_path), "\n".join(["id,left_on", *rows, ""]))

    assert found.left_after.tolist() == [False, True]
    assert (known.n_future, known.n_strangers) == (1, 2)


def test_records_that_contradict_each_other_are_counted_and_the_last_one_holds(
    tmp_path: Path,
) -> None:
    table = make_table(("a", "2026-01-31"), ("b", "2026-01-31"), ("c", "2026-01-31"))
    rows = (
        "a,2026-03-01,0", "a,2026-03-01,1", "b,2026-06-30,0", "b,2026-06-30,0", "c,2026-03-01,1",
        "c,2026-06-30,0",
    )  # fmt: skip
    content = "\n".join(["id,left_on,gone", *rows, ""])

    known, found = read(tmp_path, table, settings(tmp_path, label="gone"), content)

    assert known.n_contradicted == 1
    assert found.labels.tolist() == [1, 0, 1]
    assert any("says the opposite" in line for line in dated_notices.describe_records(known, 0))


def test_clients_who_left_since_the_newest_extract_are_counted(tmp_path: Path) -> None:
    table = make_table(("a", "2026-05-31"), ("b", "2026-05-31"), ("c", "2026-05-31"))
    rows = "id,left_on\na,2026-06-02\nb,2026-06-05\nc,2026-05-31\n"
    known, _ = read(tmp_path, table, settings(tmp_path), rows)

    (notice,) = dated_notices.describe_left_since(known, day("2026-05-31"))

    assert notice.startswith("2 clients have left since 2026-05-31")


def test_with_labels_a_client_whom_no_file_names_is_not_known(tmp_path: Path) -> None:
    table = make_table(("a", "2026-01-31"), ("b", "2026-01-31"), ("c", "2026-01-31"))
    content = "id,left_on,gone\na,2026-03-01,1\nb,2026-06-30,0\nz,2026-06-30,0\n"

    _, found = read(tmp_path, table, settings(tmp_path, label="gone"), content)

    assert found.labels.tolist() == [1, 0, UNLABELLED]
    assert found.is_mature.tolist() == [True, True, False]


def test_the_key_may_have_another_name_in_the_files(tmp_path: Path) -> None:
    table = make_table(("a", "2026-01-31"))

    _, found = read(
        tmp_path, table, settings(tmp_path, key="account"), "account,left_on\na,2026-02-01\n"
    )

    assert found.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("id,left_on\nx,2026-03-01\n", "none of its 1 clients is in the client tables"),
        ("id,left_on\na,2025-03-01\n", "none of its dates is within 90 days after a row"),
        ("id,left_on\na,2026-11-01\n", "the rows are as of 2026-01-31 to 2026-02-28"),
        ("id,outcome\na,1\n", r"it lacks the columns \['left_on'\]"),
    ],
)
def test_a_file_that_fits_no_row_is_refused_and_undoes_nothing(
    tmp_path: Path, content: str, reason: str
) -> None:
    table = make_table(("a", "2026-01-31"), ("b", "2026-02-28"))
    right = "id,left_on\na,2026-03-01\n"

    known, found = read(tmp_path, table, settings(tmp_path), right, content)
    alone, expected = read(tmp_path, table, settings(tmp_path), right)

    assert not known.readings[0].refused
    assert re.search(reason, known.readings[1].refused)
    assert known.complete_until == alone.complete_until
    assert found.labels.tolist() == expected.labels.tolist()


def test_a_key_written_otherwise_is_counted_and_a_stranger_is_not(tmp_path: Path) -> None:
    table = make_table(*((f"{k:04d}", "2026-01-31") for k in range(1, 6)), ("K7", "2026-01-31"))
    rows = ("0001,2026-02-01", "2,2026-02-01", "3.0,2026-02-01", "k7,2026-02-01", "99,2026-02-01")

    known, found = read(tmp_path, table, settings(tmp_path), "\n".join(["id,left_on", *rows]))

    (reading,) = known.readings
    assert len(reading.rejected) == 3
    assert {row.column for row in reading.rejected} == {"id"}
    assert "written otherwise than in the column 'id'" in reading.rejected[0].reason
    assert found.labels[0] == 1


def test_a_file_whose_keys_are_all_written_otherwise_is_refused_with_the_reason(
    tmp_path: Path,
) -> None:
    table = make_table(("0001", "2026-01-31"), ("0002", "2026-01-31"))

    known, _ = read(tmp_path, table, settings(tmp_path), "id,left_on\n1,2026-02-01\n")

    assert "the keys are written otherwise" in known.readings[0].refused


def test_a_file_without_anybody_who_left_is_right(tmp_path: Path) -> None:
    known, _ = read(tmp_path, make_table(("a", "2026-01-31")), settings(tmp_path), "id,left_on\n")

    assert not known.readings[0].refused
    assert known.complete_until is None


def test_a_label_in_the_row_counts_before_the_files(tmp_path: Path) -> None:
    table = make_table(("a", "2026-01-31")).assign(left=0)

    _, found = read(tmp_path, table, settings(tmp_path), "id,left_on\na,2026-02-01\n")

    assert found.labels.tolist() == [0]
    assert found.is_mature.all()


def simulate(seed: int, horizon_days: int) -> tuple[float, float, float]:
    """Return the shares of leavers: of mature rows, of all known ones, and the true one."""
    random = np.random.default_rng(seed)
    n, days = 4000, pd.date_range("2025-01-31", periods=12, freq="ME")
    signup = random.integers(0, 330, n)
    leave = signup + random.exponential(400, n)
    start, end = days[0].date().toordinal() - EPOCH, days[-1].date().toordinal() - EPOCH
    rows = [
        (f"c{client}", int(moment.date().toordinal() - EPOCH))
        for moment in days
        for client in range(n)
        if start + signup[client] <= moment.date().toordinal() - EPOCH < start + leave[client]
    ]
    table = pd.DataFrame(rows, columns=["id", "snapshot"]).assign(n=1.0, left=UNLABELLED)
    table = number(table)
    left_on = {f"c{client}": int(start + leave[client]) for client in range(n)}
    seen = {client: at for client, at in left_on.items() if at <= end}
    records = pd.DataFrame({"key": list(seen), "day": list(seen.values()), "left": True})
    known = known_outcomes.KnownOutcomes(records, int(records["day"].max()))
    chosen = OutcomeSettings(
        input_folder_path=Path("outcomes"), date="left_on", horizon_days=horizon_days
    )
    found = outcomes.label_rows(table, known, chosen, SCHEMA)
    known_labels = found.labels[found.labels != UNLABELLED]
    truth = 1 - np.exp(-horizon_days / 400)
    return float(found.labels[found.is_mature].mean()), float(known_labels.mean()), float(truth)


@pytest.mark.parametrize("horizon_days", [30, 60, 90])
def test_clients_without_the_time_to_leave_bias_nothing(horizon_days: int) -> None:
    shares = np.array([simulate(seed, horizon_days) for seed in range(3)])
    mature, known, truth = shares.mean(axis=0)

    # Rows of a client overlap, so three times 4,000 clients count, not their rows.
    error = np.sqrt(truth * (1 - truth) / 12_000)
    assert abs(mature - truth) < 3 * error
    # With a month of horizon hardly a row has an outcome before its time.
    assert horizon_days == 30 or known - truth > 3 * error
