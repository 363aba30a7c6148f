"""Large dated files are read by Polars with the same rows as small ones by the rules."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from scripts.core.config import DateColumn, LeavingColumn, Schema
from scripts.data import polars_dataset
from scripts.data.dated_table import DatedTable
from scripts.engine import dated_ingest

HEADER = "note;snapshot;signup;id;logins;seats;plan;left"
SCHEMA = Schema(
    target="left", ids=("id",), numeric=("logins", "seats"), categorical=("plan",),
    date=DateColumn(column="snapshot", format="%d.%m.%Y"),
    dates={"signup": "%Y-%m-%d"}, changes=("logins",), ratios={"usage": ("logins", "seats")},
)  # fmt: skip
ODD_DATES = [
    "", " ", "2024-02-29", "2023-02-29", "0000-01-01", "0001-01-01", "9999-12-31", "2024-1-1",
    "2024-01-01T10:00:00Z", "2024-01-01 10:00", "2024-01-01T99:99", " 2024-01-01", "20240101",
    "31.01.2024", "2024-13-01", "0000-00-00", "1900-01-01", "1900-01-02", "1/1/1900 12:00:00 AM",
    "1899-12-30", "1753-01-01 00:00", "1901-01-01", "1901-01-01x",
    " 0000-00-00 00:00:00", "0000-00-00x", "00000000",
    "NULL", " n/a", "(null)", "NaT", "-", "--", "---", "nullx", "#N/A",
    "\u0662\u0660\u0662\u0664-01-01", "nan", "2024-01-01x",
]  # fmt: skip
ODD_DAYS = [
    "01.01.1900",
    "31.12.9999",
    "",
    "31.12.2024",
    "1.2.2024",
    "01.02.24",
    "30.02.2024",
    " 01.02.2024 ",
    "2024-02-01",
]


def write(folder: Path, seed: int, n_files: int = 3, n_rows: int = 400) -> list[Path]:
    random = np.random.default_rng(seed)
    paths = []
    for number in range(n_files):
        rows = []
        for _ in range(n_rows):
            is_odd = random.random() < 0.1
            snapshot = f"{random.integers(1, 29):02}.{random.integers(1, 13):02}.2024"
            signup = f"20{random.integers(10, 24)}-{random.integers(1, 13):02}-17"
            if is_odd:
                snapshot = str(random.choice([snapshot, *ODD_DAYS]))
                signup = str(random.choice(ODD_DATES))
            cells = [
                "some text, and more", snapshot, signup, f"c{random.integers(0, 90)}",
                str(random.choice(["1", "2.5", "", "x", "0"], p=[0.4, 0.3, 0.1, 0.02, 0.18])),
                str(random.integers(0, 9)), str(random.choice(["pro", " basic", '"a;b"', ""])),
                str(random.choice(["1", "0", "", "maybe"], p=[0.3, 0.4, 0.28, 0.02])),
            ]  # fmt: skip
            rows.append(";".join(cells))
        paths.append(folder / f"{number}.csv")
        paths[-1].write_text("\n".join([HEADER, *rows]) + "\n")
    return paths


def check_same_rows(small: DatedTable, large: DatedTable) -> None:
    """Check that both have the same rows, as places, as tables and as files of datasets."""
    places = small.places[large.places.columns]
    pd.testing.assert_frame_equal(large.places, places, check_dtype=False)
    labels = np.arange(len(places)) % 2
    for every in (1, 3):
        chosen = np.arange(len(labels)) % every == 0
        pd.testing.assert_frame_equal(
            large.select(chosen, labels), small.select(chosen, labels), check_dtype=False
        )
        assert b"".join(large.encode(chosen, labels)) == b"".join(small.encode(chosen, labels))


@pytest.mark.parametrize("seed", range(5))
def test_both_readers_have_the_same_rows_and_the_same_rejected_rows(
    tmp_path: Path, seed: int
) -> None:
    paths = write(tmp_path, seed)

    small = dated_ingest.read_small(paths[:2], paths[2:], SCHEMA, has_outcomes=False)
    large = dated_ingest.read_large(paths[:2], paths[2:], SCHEMA, has_outcomes=False)

    assert small[1] == large[1]
    for mine, others in zip(small[2] + small[3], large[2] + large[3], strict=True):
        assert (mine.n_rows, mine.sha256) == (others.n_rows, others.sha256)
        assert mine.rejected == others.rejected
    assert small[2][0].rejected
    check_same_rows(small[0], large[0])


def test_files_of_a_day_each_and_parts_of_few_rows_give_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polars_dataset, "PART_ROWS", 70)
    paths = write(tmp_path, seed=3, n_files=6, n_rows=150)
    for month, path in enumerate(paths, start=1):
        lines = [line.split(";") for line in path.read_text().splitlines()]
        # Wholly without fractions until the fifth month, and the last file has two days.
        for line in lines[1:]:
            line[1] = f"28.{min(month, 5):02}.2024" if line[7] else "29.02.2024"
            line[4] = line[4].replace("2.5", "7") if month < 5 else line[4]
        path.write_text("\n".join(map(";".join, lines)) + "\n")

    small = dated_ingest.read_small(paths, [], SCHEMA, has_outcomes=False)
    large = dated_ingest.read_large(paths, [], SCHEMA, has_outcomes=False)

    check_same_rows(small[0], large[0])
    days = small[0].places["snapshot"].to_numpy()
    labels = np.zeros(len(days), np.int64)
    for day in set(days):
        chosen = days == day
        assert b"".join(large[0].encode(chosen, labels)) == b"".join(
            small[0].encode(chosen, labels)
        )


@pytest.mark.parametrize(
    "less",
    [
        {"ratios": {}},
        {"ratios": {}, "changes": (), "dates": ()},
        {"ratios": {}, "changes": (), "numeric": (), "categorical": ()},
        {"ratios": {}, "dates": (), "categorical": (), "numeric": ("logins",)},
        {"dates": (), "leaving": "signup"},
        {"categorical": (), "leaving": LeavingColumn(column="plan", labels=("Basic",))},
    ],
    ids=lambda less: " ".join(less),
)
def test_without_fractions_or_kinds_of_columns_both_readers_have_the_same_rows(
    tmp_path: Path, less: dict[str, Any]
) -> None:
    schema = msgspec.structs.replace(SCHEMA, **less)
    paths = write(tmp_path, seed=1, n_rows=150)
    for path in paths:
        path.write_text(path.read_text().replace(";2.5;", ";3;"))

    small = dated_ingest.read_small(paths, [], schema, has_outcomes=False)
    large = dated_ingest.read_large(paths, [], schema, has_outcomes=False)

    check_same_rows(small[0], large[0])


def test_files_without_the_target_and_with_the_day_in_the_name_are_equal_too(
    tmp_path: Path,
) -> None:
    lines = write(tmp_path, 9, n_files=1)[0].read_text().splitlines()
    cut = [";".join([*line.split(";")[:1], *line.split(";")[2:7]]) for line in lines]
    paths = [tmp_path / "b 2024-03-31.csv", tmp_path / "a 2024-04-30.csv", tmp_path / "none.csv"]
    for path in paths:
        path.write_text("\n".join(cut) + "\n")
    (tmp_path / "0.csv").unlink()
    schema = msgspec.structs.replace(SCHEMA, date="file_name")

    small = dated_ingest.read_small(paths, [], schema, has_outcomes=True)
    large = dated_ingest.read_large(paths, [], schema, has_outcomes=True)

    check_same_rows(small[0], large[0])
    assert [r.refused for r in small[2]] == [r.refused for r in large[2]]
    assert set(small[0].places["as_of"]) == {19813, 19843}
