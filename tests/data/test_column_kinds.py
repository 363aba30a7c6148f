"""Columns of dates, e-mail addresses, phone numbers, URLs and free text are recognised."""

import pytest

from scripts.data.column_kinds import ColumnKind, count_kinds

RECOGNISED = [
    ([f"2026-03-{day:02}" for day in range(1, 29)], ColumnKind.DATES),
    ([f"2026-03-{day:02}T12:00:00Z" for day in range(1, 29)], ColumnKind.DATES),
    ([f"{day}.3.2026" for day in range(1, 29)], ColumnKind.DATES),
    ([f"03/{day:02}/2026 11:30 PM" for day in range(1, 29)], ColumnKind.DATES),
    ([f"{day}/12/99" for day in range(1, 29)], ColumnKind.DATES),
    ([f"Mar {day}, 2026" for day in range(1, 29)], ColumnKind.DATES),
    ([f"{day} März 2026" for day in range(1, 29)], ColumnKind.DATES),
    ([f"{day:02}-MAR-26" for day in range(1, 29)], ColumnKind.DATES),
    ([f"{day}-Mar-2026 10:00" for day in range(1, 29)], ColumnKind.DATES),
    (["2026-01", "2026-02", "2025-12"], ColumnKind.DATES),
    ([f"info{k}@company-{k}.example" for k in range(30)], ColumnKind.EMAILS),
    ([f"https://example.com/{k}?a=b" for k in range(30)], ColumnKind.URLS),
    ([f"www.example-{k}.com" for k in range(30)], ColumnKind.URLS),
    ([f"+49 30 55500{k:02}" for k in range(30)], ColumnKind.PHONES),
    ([f"(030) 555-01{k:02}" for k in range(30)], ColumnKind.PHONES),
    ([f"555-01{k:02}" for k in range(30)], ColumnKind.PHONES),
    ([f"call {k} was about the price" for k in range(30)], ColumnKind.TEXTS),
    ([f"Company {k}" for k in range(30)], ColumnKind.TEXTS),
]


@pytest.mark.parametrize(("cells", "kind"), RECOGNISED)
def test_a_kind_is_recognised(cells: list[str], kind: ColumnKind) -> None:
    assert count_kinds(dict.fromkeys(cells, 1)).kind(is_numeric=False) is kind


@pytest.mark.parametrize(
    "counts",
    [
        {"basic": 10, "pro": 20, "team": 5},
        {"1000-2000": 10, "2000-5000": 20},
        {"yes": 1, "no": 1},
        {"Month-to-month": 5, "One year": 6, "Two year": 7},
        {"18-24": 10, "25-34": 10},
        {"1.5 GB": 3, "10/20": 4},
        {"no answer at all today": 900, "n/a": 100},
        {"10.0.0.1": 50, "10.0.0.2": 50},
    ],
)
def test_categories_stay_categories(counts: dict[str, int]) -> None:
    assert count_kinds(counts).kind(is_numeric=False) is ColumnKind.OTHER


def test_numbers_stay_numbers_but_for_dates_and_signed_phone_numbers() -> None:
    numbers = {str(1_000_000 + k): 1 for k in range(100)}
    days = {f"202603{day:02}": 1 for day in range(1, 29)}
    phones = {f"+4930{1_000_000 + k}": 1 for k in range(100)}

    assert count_kinds(numbers).kind(is_numeric=True) is ColumnKind.OTHER
    assert count_kinds(days).kind(is_numeric=True) is ColumnKind.DATES
    assert count_kinds(phones).kind(is_numeric=True) is ColumnKind.PHONES


def test_one_cell_in_a_hundred_may_differ() -> None:
    days = {f"2026-03-{day:02}": 10 for day in range(1, 29)}

    assert count_kinds(days | {"unknown": 2}).kind(is_numeric=False) is ColumnKind.DATES
    assert count_kinds(days | {"unknown": 20}).kind(is_numeric=False) is ColumnKind.OTHER


@pytest.mark.parametrize("word", ["NULL", "n/a", "-", "0000-00-00", "9999-12-31"])
def test_dates_beside_words_for_no_date_are_dates(word: str) -> None:
    days = {f"2026-03-{day:02d}": 1 for day in range(1, 11)}

    assert count_kinds(days | {word: 500}).kind(is_numeric=False) is ColumnKind.DATES
    assert count_kinds({word: 500}).kind(is_numeric=False) is not ColumnKind.DATES
    assert count_kinds({"yes": 10, word: 500}).kind(is_numeric=False) is not ColumnKind.DATES


def test_a_day_that_stands_for_none_counts_once() -> None:
    texts = {f"answer {number}": 1 for number in range(50)}

    assert count_kinds(texts | {"1900-01-01": 50}).kind(is_numeric=False) is not ColumnKind.DATES
    assert count_kinds({"2026-01-31": 1, "1900-01-01": 99}).kind(is_numeric=False) == "dates"


def test_parts_of_a_column_add_up() -> None:
    cells = [f"2026-03-{day:02}" for day in range(1, 29)]
    halves = [count_kinds(dict.fromkeys(half, 2)) for half in (cells[:9], cells[9:])]

    assert halves[0] + halves[1] == count_kinds(dict.fromkeys(cells, 2))
