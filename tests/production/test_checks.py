"""The checks of data, candidate and list: what each measures, and when it is a problem."""

import re
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from msgspec.structs import asdict

from scripts.api.record_queries import CHECK_TITLES
from scripts.core.config import CheckLimit, CheckSettings
from scripts.data.read_report import FileReading, RejectedRow
from scripts.model import metrics
from scripts.production import checks
from scripts.production.checks import OutcomeSums
from tests.support.service import make_model

ROOT = Path(__file__).parents[2]
USUAL = CheckSettings()
PATH = Path("a.csv")


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (0.9, CheckLimit(limit=0.9)),
        ("refuse", CheckLimit(limit=0.97, refuse=True)),
        (CheckLimit(limit=0.8, refuse=True), CheckLimit(limit=0.8, refuse=True)),
        ("off", None),
    ],
)
def test_a_limit_is_a_number_a_word_or_both(
    declared: float | str | CheckLimit, expected: CheckLimit | None
) -> None:
    settings = msgspec.convert({"leak": msgspec.to_builtins(declared)}, CheckSettings)

    assert checks.find_limit(settings, "leak") == expected


def columns_of(month: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of rows that differ in the last month only."""
    rest = np.ones(len(month))
    return {
        "lastmonth_activity": month, "lastyear_activity": rest, "number_of_employees": rest
    }  # fmt: skip


@pytest.mark.parametrize(("n_wrong", "is_alarm"), [(0, True), (1, True), (8, False)])
def test_a_column_that_alone_tells_who_left_is_named(n_wrong: int, *, is_alarm: bool) -> None:
    y = np.repeat([1, 0], 40)
    month = np.where(y == 1, 0.0, 9.0)
    month[:n_wrong] = 9.5

    (finding,) = checks.check_leak(make_model(), columns_of(month), y, USUAL)

    assert finding.is_alarm == is_alarm
    assert "'lastmonth_activity'" in finding.detail
    assert ("add it to schema.ignore. The limit checks.leak is 0.97." in finding.detail) == is_alarm


def test_few_rows_of_a_label_tell_nothing() -> None:
    y = np.repeat([1, 0], [19, 400])

    assert checks.check_leak(make_model(), columns_of(9.0 - 9 * y), y, USUAL) == []
    assert checks.check_f1(metrics.evaluate(y, y, y.astype(float)), USUAL) == []


@pytest.mark.parametrize(("n_wrong", "is_alarm"), [(0, True), (20, False)])
def test_an_f1_too_good_to_be_true_is_found_by_the_end_of_its_interval(
    n_wrong: int, *, is_alarm: bool
) -> None:
    y = np.repeat([1, 0], 200)
    predicted = y.copy()
    predicted[:n_wrong] = 0

    (finding,) = checks.check_f1(metrics.evaluate(y, predicted, predicted.astype(float)), USUAL)

    assert finding.is_alarm == is_alarm


@pytest.mark.parametrize(("n_shared", "is_alarm"), [(0, False), (10, False), (11, True)])
def test_clients_of_the_test_that_are_in_training_are_counted(
    n_shared: int, *, is_alarm: bool
) -> None:
    tested = pd.Series([f"c{i}" for i in range(100)])

    (finding,) = checks.check_shared(tested, n_shared, USUAL)

    assert (finding.name, finding.is_alarm) == ("shared_clients", is_alarm)
    assert f"{n_shared} of the 100 clients" in finding.detail


def read(n_rows: int, n_rejected: int) -> FileReading:
    """Return the report of a file."""
    rejected = [RejectedRow("a.csv", line, "n", "expected a number") for line in range(n_rejected)]
    return FileReading(PATH, n_rows=n_rows, rejected=rejected)


@pytest.mark.parametrize(
    ("n_rejected", "is_alarm"), [(0, False), (9, False), (10, True), (100, True)]
)
def test_a_tenth_of_rejected_rows_is_a_problem(n_rejected: int, *, is_alarm: bool) -> None:
    (finding,) = checks.check_rejected([read(100, n_rejected), read(100, 0)], USUAL)

    assert finding.is_alarm == is_alarm
    assert checks.check_rejected([read(19, 19)], USUAL) == []


@pytest.mark.parametrize(
    ("n_positives", "alarms"), [(0, ["one_label"]), (1, []), (30, []), (40, ["one_label"])]
)
def test_labels_of_one_value_are_a_problem(n_positives: int, alarms: list[str]) -> None:
    findings = checks.check_labels(40, n_positives, USUAL)

    assert [finding.name for finding in findings if finding.is_alarm] == alarms


@pytest.mark.parametrize(
    ("bands", "n_before", "alarms"),
    [
        ({"high": 3, "low": 97}, None, []),
        ({"high": 3, "low": 97}, 199, []),
        ({"high": 3, "low": 97}, 200, ["shrunk_list"]),
        ({}, 200, ["shrunk_list"]),
        ({"low": 100}, 100, ["one_band"]),
        ({"low": 50, "no data": 50}, 100, ["one_band"]),
        ({"low": 5}, 10, []),
        ({}, None, []),
    ],
)
def test_a_list_that_shrank_or_tells_nobody_apart_is_a_problem(
    bands: dict[str, int], n_before: int | None, alarms: list[str]
) -> None:
    findings = checks.check_list(bands, n_before, USUAL)

    assert [finding.name for finding in findings if finding.is_alarm] == alarms


@pytest.mark.parametrize(
    ("n_returning", "n_today", "n_before", "alarms"),
    [(50, 100, 100, []), (49, 100, 100, ["changed_list"]), (0, 19, 100, []), (0, 100, 19, [])],
)
def test_a_list_of_mostly_new_clients_is_a_problem(
    n_returning: int, n_today: int, n_before: int, alarms: list[str]
) -> None:
    findings = checks.check_changed(n_returning, n_today, n_before, USUAL)

    assert [finding.name for finding in findings if finding.is_alarm] == alarms


@pytest.mark.parametrize(
    ("n_returned", "n_gone", "n_today", "alarms"),
    [
        (9, 0, 100, []), (10, 0, 100, ["returned_clients"]), (19, 0, 19, []),
        (4, 5, 95, []), (5, 5, 95, ["returned_clients"]), (0, 100, 0, ["returned_clients"]),
    ],
)  # fmt: skip
def test_many_clients_who_had_left_are_a_problem(
    n_returned: int, n_gone: int, n_today: int, alarms: list[str]
) -> None:
    findings = checks.check_returned(n_returned, n_gone, n_today, USUAL, is_expected=False)

    assert [finding.name for finding in findings if finding.is_alarm] == alarms


def test_clients_who_left_by_a_declared_column_are_said_and_no_problem() -> None:
    (finding,) = checks.check_returned(0, 400, 100, USUAL, is_expected=True)

    assert not finding.is_alarm
    assert "400 of the 500 clients of the newest extract had left before" in finding.detail
    (quiet,) = checks.check_returned(0, 0, 100, USUAL, is_expected=True)
    assert quiet.detail == ""


@pytest.mark.parametrize(("n_days", "is_alarm"), [(-400, False), (31, False), (32, True)])
def test_rows_of_a_day_to_come_are_a_problem(n_days: int, *, is_alarm: bool) -> None:
    (finding,) = checks.check_future("2052-05-31", n_days, USUAL)

    assert finding.is_alarm == is_alarm
    assert "as of 2052-05-31" in finding.detail


@pytest.mark.parametrize(("n_repeated", "is_alarm"), [(0, False), (9, False), (10, True)])
def test_many_rows_of_the_same_clients_and_days_are_a_problem(
    n_repeated: int, *, is_alarm: bool
) -> None:
    (finding,) = checks.check_repeated(n_repeated, 100, ["a.csv and b.csv"], USUAL)

    assert finding.is_alarm == is_alarm
    assert ("Files of one day: a.csv and b.csv." in finding.detail) == is_alarm


@pytest.mark.parametrize(
    ("same_day", "are_named", "words"),
    [
        ([], True, "another row of the same file has the same client"),
        ([], False, "another row of the same file, or of a later one by name, has"),
        (["a.csv and b.csv"], True, "mostly of a later file by name, has"),
    ],
)
def test_repeated_rows_of_one_file_are_not_blamed_on_another(
    same_day: list[str], *, are_named: bool, words: str
) -> None:
    (finding,) = checks.check_repeated(50, 100, same_day, USUAL, are_named=are_named)

    assert words in finding.detail


@pytest.mark.parametrize(
    ("line", "reason", "is_alarm"),
    [
        (101, "expected 8 fields, found 4", True),
        (101, "expected 8 fields, found 9", False),
        # A footer such as "(100 rows)", and a row in the middle.
        (101, "expected 8 fields, found 1", False),
        (50, "expected 8 fields, found 4", False),
    ],
)
def test_a_file_that_ends_in_the_middle_of_a_row_is_a_problem(
    line: int, reason: str, *, is_alarm: bool
) -> None:
    reading = FileReading(
        Path("clients.csv"), n_rows=100, rejected=[RejectedRow("clients.csv", line, "", reason)]
    )

    (finding,) = checks.check_rejected([reading], USUAL)

    assert finding.is_alarm == is_alarm
    assert ("The last line of clients.csv has 4 of 8 fields" in finding.detail) == is_alarm


def test_a_list_that_is_empty_from_the_first_day_says_what_a_label_does() -> None:
    (finding,) = checks.check_never_empty(USUAL)
    (shrunk,) = checks.check_list({}, 200, USUAL)

    assert finding.is_alarm
    assert "Today's list is empty, and was never filled" in finding.detail
    assert "Leave the label blank" in finding.detail
    assert "Leave the label blank" in shrunk.detail


@pytest.mark.parametrize(
    ("n_left", "n_known", "alarms"),
    [(60, 1000, []), (85, 1000, []), (140, 1000, ["outcome_shares"]), (700, 700, [])],
)
def test_shares_are_apart_only_beyond_chance_and_of_a_whole_list(
    n_left: int, n_known: int, alarms: list[str]
) -> None:
    # Six of a hundred were predicted: a standard deviation of 7.5 clients, 7.9 with the model's.
    found = OutcomeSums(1000, n_known, n_left, 0.06 * n_known, 0.06 * 0.94 * n_known)

    findings = checks.check_outcomes(found, 10_000, USUAL)

    assert [finding.name for finding in findings if finding.is_alarm] == alarms


@pytest.mark.parametrize(("n_left_before", "is_alarm"), [(0, True), (30, False), (90, True)])
def test_who_had_left_before_the_list_was_made_counts_as_a_leaver(
    n_left_before: int, *, is_alarm: bool
) -> None:
    # Sixty of a thousand were predicted, and half of them had left before: thirty are left to go.
    found = OutcomeSums(1000, 1000, 30, 60.0, 60.0 * 0.94)

    whole = checks.with_left_before(found, n_left_before)
    (finding,) = checks.check_outcomes(whole, 10_000, USUAL)

    assert finding.is_alarm == is_alarm


def test_the_probability_of_a_difference_is_that_of_the_normal_distribution() -> None:
    found = OutcomeSums(400, 400, 220, 200.0, 100.0)

    # 19.5 clients are 1.95 standard deviations; 0.0512 of a normal distribution is further out.
    assert checks.compare_shares(found, 10**12) == pytest.approx(0.0512, abs=1e-4)


@pytest.mark.parametrize(
    ("days_behind", "horizon_days", "is_alarm"),
    [(30, 30, False), (90, 30, False), (91, 30, True), (60, 0, False), (200, 90, True)],
)
def test_test_data_may_be_two_periods_older_than_outcomes_need(
    days_behind: float, horizon_days: float, *, is_alarm: bool
) -> None:
    (finding,) = checks.check_age(days_behind, 30, horizon_days, USUAL)

    assert finding.is_alarm == is_alarm


def test_the_page_of_checks_has_each_check_with_its_usual_limit_and_the_pages_its_title() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", (ROOT / "docs/alerts.md").read_text(), re.M)

    assert {name: float(limit) for name, limit in rows} == asdict(USUAL)
    assert CHECK_TITLES.keys() == asdict(USUAL).keys()


def test_a_check_that_is_off_finds_nothing() -> None:
    names = CheckSettings.__struct_fields__
    off = msgspec.convert(dict.fromkeys(names, "off"), CheckSettings)

    assert checks.check_list({"low": 100}, 1000, off) == []
    assert checks.check_rejected([read(100, 100)], off) == []
    assert checks.check_age(1000, 1, 0, off) == []


def evaluate(n_found: int, n_missed: int, n_wrong: int) -> metrics.Evaluation:
    """Return the metrics of a model on 200 rows."""
    y = np.zeros(200, np.int64)
    y[: n_found + n_missed] = 1
    predicted = np.zeros(200, np.int64)
    predicted[:n_found] = 1
    predicted[200 - n_wrong :] = 1
    return metrics.evaluate(y, predicted, predicted.astype(float))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((1, 9, 0), False), ((0, 10, 3), True), ((0, 9, 3), None), ((0, 5, 0), True),
        ((0, 4, 0), None), ((0, 30, 0), True),
    ],
)  # fmt: skip
def test_a_model_that_finds_nobody_who_left_is_told(
    counts: tuple[int, int, int], *, expected: bool | None
) -> None:
    found = checks.check_useless(evaluate(*counts), USUAL)

    assert [finding.is_alarm for finding in found] == ([] if expected is None else [expected])
    if expected:
        assert f"finds 0 of the {counts[1]} clients who left on 200 test rows" in found[0].detail


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((0, 100, 0.05), True), ((1, 100, 0.05), False), ((0, 100, 0.04), None), ((0, 19, 0.9), None)],
)
def test_a_list_that_names_nobody_is_told(
    counts: tuple[int, int, float], *, expected: bool | None
) -> None:
    found = checks.check_predicted(*counts, USUAL)

    assert [finding.is_alarm for finding in found] == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("respelt", "alarms"),
    [
        ([], []),
        ([("2026-01-31", 9, 1000)], []),
        ([("2026-01-31", 10, 1000)], ["respelt_keys"]),
        ([("2026-01-31", 19, 19)], []),
        ([("2026-01-31", 1, 1000), ("2026-02-28", 99, 1000)], ["respelt_keys"]),
    ],
)
def test_keys_written_otherwise_than_before_are_a_problem_of_the_worst_extract(
    respelt: list[tuple[str, int, int]], alarms: list[str]
) -> None:
    (finding,) = checks.check_respelt(respelt, USUAL)

    assert [finding.name for finding in [finding] if finding.is_alarm] == alarms
    assert "2026-01-31" not in finding.detail or len(respelt) == 1


def test_columns_that_no_model_uses_are_a_problem_with_the_first_names() -> None:
    (fine,) = checks.check_columns([], USUAL)
    (found,) = checks.check_columns([f"c{n}" for n in range(7)], USUAL)

    assert not fine.is_alarm
    assert found.is_alarm
    assert "'c0', 'c1', 'c2', 'c3', 'c4' and 2 more" in found.detail
