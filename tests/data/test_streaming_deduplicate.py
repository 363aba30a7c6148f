"""Which rows repeat an earlier one: by hashes that are a row's own, and then byte for byte."""

import random
from pathlib import Path

import numpy as np
import pytest

from scripts.data import streaming_deduplicate
from scripts.data.csv_fast_path import Rows
from scripts.data.streaming_deduplicate import Keys, Sieve, Stack
from scripts.data.streaming_ingest import Shelf, choose_rows

LINES = [
    b"",
    b"a",
    b"1234567",
    b"12345678",
    b"123456789",
    b"1234567812345678",
    b"x" * 17,
    b"y" * 99,
]


def as_rows(lines: list[bytes]) -> Rows:
    """Put lines into one piece."""
    breaks = np.cumsum([len(line) + 1 for line in lines], dtype=np.int64)
    return Rows(b"\n".join(lines) + b"\n", np.append(0, breaks[:-1]), breaks - 1)


def hash_all(lines: list[bytes], keys: Keys) -> list[tuple[int, ...]]:
    """Hash lines that stand in one piece."""
    rows = as_rows(lines)
    hashes = streaming_deduplicate.hash_lines(rows.content, rows.starts, rows.ends, keys)
    return list(zip(*(own.tolist() for own in hashes), strict=True))


def keep_firsts(parts: list[list[bytes]], folder: Path, bound_bytes: int | None) -> list[bytes]:
    """Put parts through the sieve, and give the lines that stay."""
    found = Sieve(folder, bound_bytes)
    shelf = Shelf()
    for part in parts:
        rows = as_rows(part)
        found.add(rows.content, rows.starts, rows.ends)
        shelf.put(rows)
    is_first = found.find_firsts(shelf)
    return b"".join(choose_rows(shelf, is_first)).split(b"\n")[:-1]


def test_the_hash_of_a_line_is_its_own_whatever_stands_beside_it() -> None:
    keys = Keys(4)
    together = hash_all(LINES, keys)

    alone = [hash_all([line], keys)[0] for line in LINES]

    assert alone == together
    assert len(set(together)) == len(LINES)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 24, 30])
def test_every_byte_of_a_line_counts(length: int) -> None:
    line = b"5" * length
    changed = [line[:place] + b"6" + line[place + 1 :] for place in range(length)]
    lines = [line, *changed, line + b"5", line + b"\0"]

    assert len(set(hash_all(lines, Keys(1)))) == len(lines)


def test_other_keys_give_other_hashes() -> None:
    assert hash_all(LINES, Keys(2)) != hash_all(LINES, Keys(2))


@pytest.mark.parametrize("bound_bytes", [None, 1, 10**6])
def test_the_first_of_equal_lines_stays_in_its_place(
    tmp_path: Path, bound_bytes: int | None
) -> None:
    draw = random.Random(1)
    parts = [draw.choices(LINES, k=7) for _ in range(30)]

    kept = keep_firsts(parts, tmp_path, bound_bytes)

    assert kept == list(dict.fromkeys(line for part in parts for line in part))


def test_in_memory_hashes_that_are_all_the_same_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        streaming_deduplicate,
        "hash_lines",
        lambda _content, starts, *_: [np.zeros(len(starts), np.uint64)],
    )
    parts = [[b"a", b"b", b"a"], [b"c", b"12345678a", b"b", b"12345678b"], [b"c", b"a", b"bb"]]

    assert keep_firsts(parts, tmp_path, None) == [
        b"a",
        b"b",
        b"c",
        b"12345678a",
        b"12345678b",
        b"bb",
    ]


def test_rows_that_were_taken_back_are_no_first_of_others(tmp_path: Path) -> None:
    found, shelf = Sieve(tmp_path), Shelf()
    for part in ([b"a"], [b"b", b"c"], [b"c", b"a"]):
        rows = as_rows(part)
        since = found.n_rows
        found.add(rows.content, rows.starts, rows.ends)
        shelf.put(rows)
        if part == [b"b", b"c"]:
            found.cancel(since)

    assert found.find_firsts(shelf).tolist() == [True, False, False, True, False]


def test_a_stack_grows_when_its_room_is_used_up() -> None:
    stack = Stack(np.int64, 2)

    for number in range(100):
        stack.put(np.array([number, -number]))

    assert stack.values.tolist() == [sign * n for n in range(100) for sign in (1, -1)]
