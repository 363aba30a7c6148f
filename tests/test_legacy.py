"""The history of an installation that kept text files only."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts import legacy
from scripts.errors import DatasetError


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("latestscore_20240131T081502000000Z.txt", (2024, 1, 31, 8, 15, 2)),
        ("latestscore_20240131.txt", (2024, 1, 31)),
        ("latestscore_2024-01-31.txt", (2024, 1, 31)),
        ("latestscore_2024-01-31 08:15:02.txt", (2024, 1, 31, 8, 15, 2)),
        ("latestscore_2024_01_31_08_15.txt", (2024, 1, 31, 8, 15)),
        ("latestscore_20240131_081502.txt", (2024, 1, 31, 8, 15, 2)),
        ("latestscore.txt", (2023, 5, 6)),
        ("latestscore_20249999.txt", (2023, 5, 6)),
    ],
)
def test_a_file_is_as_old_as_its_name_says_or_else_its_last_change(
    tmp_path: Path, name: str, moment: tuple[int, ...]
) -> None:
    path = tmp_path / name
    path.touch()
    os.utime(path, (datetime(2023, 5, 6, tzinfo=UTC).timestamp(),) * 2)

    assert legacy.moment_of(path) == datetime(*moment, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("text", "f1"),
    [
        ("0.5714285714285715\n", 0.5714285714285715),
        ("F1 score: 0.75", 0.75),
        ("1", 1.0),
        ("5e-1", 0.5),
        ("", None),
        ("none", None),
        ("57.1", None),
        ("-0.5", None),
    ],
)
def test_the_score_is_the_first_number_if_it_can_be_an_f1(
    tmp_path: Path, text: str, f1: float | None
) -> None:
    path = tmp_path / "latestscore.txt"
    path.write_text(text)

    assert legacy.read_f1(path) == f1


@pytest.mark.parametrize(
    "text", ["a.csv\nb.csv\n", "['a.csv', 'b.csv']", "a.csv,b.csv", '["a.csv",\n"b.csv"]\n\n']
)
def test_the_ingested_files_are_read_however_they_are_spelled(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ingestedfiles.txt"
    path.write_text(text)

    assert legacy.read_names(path) == ("a.csv", "b.csv")


def test_files_of_one_date_are_one_run_wherever_they_are(tmp_path: Path) -> None:
    for name, text in {
        "data/finaldata_20240131.csv": "h\n1\n2\n",
        "data/ingestedfiles_20240131.txt": "a.csv\n",
        "models/latestscore_20240131.txt": "0.5",
        "models/trainedmodel_20240131.pkl": "never read",
        "models/latestscore_20240201.txt": "0.75",
        "prod/latestscore.txt": "0.75",
        "notes.txt": "not ours",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    first, second, undated = legacy.read_runs(tmp_path)

    assert (first.stamp, first.f1, first.n_rows, first.ingested) == ("20240131", 0.5, 2, ("a.csv",))
    assert set(first.files) == {"dataset", "ingested", "score", "pickle"}
    assert (second.stamp, second.f1, second.n_rows) == ("20240201", 0.75, None)
    assert undated.stamp == ""


def test_a_folder_without_a_history_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    with pytest.raises(DatasetError, match="has no finaldata"):
        legacy.read_runs(tmp_path)
    with pytest.raises(DatasetError, match="is not a folder"):
        legacy.read_runs(tmp_path / "missing")
