"""Sentences are cut between clauses, never in a number."""

import re

import pytest

from scripts.core import sentences

REASON = (
    "the candidate is better: candidate F1 0.7134, production F1 0.6225 on 1000 test rows (364"
    " positive), difference +0.0909 (95 % interval +0.0512 to +0.1306), P(better) 0.999"
)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (len(REASON), REASON),
        (len(REASON) - 1, REASON[: REASON.index(", P(better)")] + " …"),
        (140, REASON[: REASON.index(" (95 %")] + " …"),
        (100, REASON[: REASON.index(" (364")] + " …"),
        (60, "the candidate is better: candidate F1 0.7134 …"),
        (30, "the candidate is better …"),
        (20, "the candidate is …"),
    ],
)
def test_a_reason_is_cut_where_a_clause_ends(length: int, expected: str) -> None:
    assert sentences.shorten(REASON, length) == expected


@pytest.mark.parametrize("length", range(3, len(REASON)))
def test_no_number_is_cut_at_any_length(length: int) -> None:
    short = sentences.shorten(REASON, length)

    assert len(short) <= length
    numbers = re.findall(r"[-+]?[0-9][0-9.]*", short)
    assert set(numbers) <= set(re.findall(r"[-+]?[0-9][0-9.]*", REASON))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("short", "short"),
        ("x" * 30, "x" * 18 + " …"),
        ("1" * 30, "1" * 18 + " …"),
        ("folder/file_2026112 is not UTF-8", "folder/file_ …"),
        ("rows 12,345,678,901,234,567", "rows …"),
    ],
)
def test_text_without_clauses_is_cut_between_words(text: str, expected: str) -> None:
    assert sentences.shorten(text, 20) == expected


def test_a_number_has_its_noun_in_the_singular_after_one_alone() -> None:
    assert [sentences.count(number, "client") for number in (0, 1, 2)] == [
        "0 clients", "1 client", "2 clients",
    ]  # fmt: skip
    assert sentences.count(1, "client has left", "clients have left") == "1 client has left"
    assert sentences.count(3, "client has left", "clients have left") == "3 clients have left"
