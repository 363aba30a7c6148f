"""Days written as numbers."""

import numpy as np
import pandas as pd
import pytest

from scripts.data import date_formats, day_numbers

DAYS = ("2026-01-31", "2026-02-28", "2026-03-31")


def make_rows(per_day: int = 40) -> tuple[pd.DataFrame, pd.Series]:
    """Make a column of days before the extract's day, in three units, and amounts beside."""
    day = pd.Series(np.repeat(DAYS, per_day))
    moments = pd.to_datetime(day) - pd.to_timedelta(np.tile(np.arange(per_day), 3), "D")
    since_1970 = (moments - pd.Timestamp("1970-01-01")) // pd.Timedelta("1s")
    table = pd.DataFrame(
        {
            "sheet": since_1970 // 86_400 + 25_569,
            "float": (since_1970 // 86_400 + 25_569).astype("float64"),
            "seconds": since_1970 + 7_200,
            "milliseconds": since_1970 * 1000,
            "income": np.tile(30_000 + 700 * np.arange(per_day), 3),
            "phone": 1_700_000_000 + np.arange(3 * per_day) * 1_000_003,
        }
    )
    return table.astype("str"), day


def test_columns_that_grow_with_the_extracts_are_days_and_amounts_are_none() -> None:
    table, day = make_rows()

    found = day_numbers.find_features(table, day)

    assert list(found) == ["sheet", "float", "seconds", "milliseconds"]
    assert found["sheet"] == "dates as days of a spreadsheet: 46053 is 2026-01-31"
    assert found["seconds"].startswith("dates as seconds since 1970: 176982")
    assert not day_numbers.find_features(table[:40], day[:40])
    assert not day_numbers.find_features(table, None)


def test_a_column_with_one_day_per_file_is_named_whatever_its_unit() -> None:
    table, day = make_rows()
    stamps = table.assign(at=table["seconds"].groupby(day).transform("max"))

    hint = day_numbers.find_own(stamps, day.map(DAYS.index), {"at": False})

    assert hint.startswith("'at' looks like dates as seconds since 1970: 1769824800 is 2026-01-31.")
    assert not day_numbers.find_own(stamps, pd.Series(0, day.index), {"at": False, "income": True})


@pytest.mark.parametrize("texts", [["46053", "46081", "46112"], ["460530112"], ["99990101"]])
def test_a_whole_number_is_no_date_of_another_millennium(texts: list[str]) -> None:
    assert not date_formats.find_formats(texts)
    assert not date_formats.find_month_format(texts)


def test_packed_dates_and_months_are_still_found() -> None:
    assert date_formats.find_formats(["20260131", "20260228"]) == ["%Y%m%d"]
    assert date_formats.find_month_format(["202601", "202602"]) == "%Y%m"
