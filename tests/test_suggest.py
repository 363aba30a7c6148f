"""A schema for a folder that nobody has described."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from benchmarks import churn_tables
from scripts import suggest
from scripts.errors import DatasetError
from scripts.suggest import Suggestion

ROOT = Path(__file__).parent.parent


def write(folder: Path, columns: dict[str, list[str]], separator: str = ",") -> Path:
    """Write columns as a table."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "a.csv"
    path.write_text(churn_tables.to_csv(columns, separator))
    return path


@pytest.mark.parametrize(
    ("name", "separator", "expected"),
    [
        ("telecom", ",", ("Churn", "Yes", ["customerID"], ["ChurnReason", "Country"])),
        (
            "bank", ";",
            ("Exited", "1", ["RowNumber", "CustomerId", "Surname"], ["Complain", "Currency"]),
        ),
        ("wireless", "\t", ("Churn", "True.", ["Phone"], ["Retention offer", "Network"])),
    ],
)  # fmt: skip
def test_the_traps_of_real_tables_are_noticed(
    tmp_path: Path, name: str, separator: str, expected: tuple[Any, ...]
) -> None:
    path = write(tmp_path, churn_tables.MAKERS[name](1500, 1), separator)

    found = suggest.suggest([path])

    section = found.section
    assert (section["target"], section["positive"], section["ids"], section["ignore"]) == expected
    said = "\n".join(found.notices)
    assert f"Separator {separator!r}, encoding utf-8." in said
    for column in section["ids"]:
        assert f"Likely identifier: {column!r}" in said
    assert f"Likely leak: {section['ignore'][0]!r}" in said
    assert f"{section['ignore'][1]!r}: it has one value" in said


def small(labels: list[str], **columns: list[str]) -> dict[str, list[str]]:
    """Make a table of 40 rows with a number and a target."""
    status = [labels[i % len(labels)] for i in range(40)]
    return {"n": [str(i % 7) for i in range(40)], "status": status} | columns


def suggested(folder: Path, columns: dict[str, list[str]], target: str | None = None) -> Suggestion:
    """Suggest a schema for columns."""
    return suggest.suggest([write(folder, columns)], target)


@pytest.mark.parametrize(
    ("n_names", "expected"), [(200, ["corporation"]), (101, ["corporation"]), (100, [])]
)
def test_names_are_identifiers_also_where_some_clients_stand_in_two_rows(
    tmp_path: Path, n_names: int, expected: list[str]
) -> None:
    names = [f"company{i % n_names}" for i in range(201)]
    columns = {"corporation": names, "n": [str(i) for i in range(201)]}
    columns["status"] = [("left", "stayed", "stayed")[i % 3] for i in range(201)]

    assert suggested(tmp_path, columns).section["ids"] == [*expected, "n"]


def test_clients_of_the_source_data_are_known_by_their_corporation() -> None:
    paths = sorted((ROOT / "sourcedata").glob("*.csv"))

    section = suggest.suggest(paths).section

    assert section["ids"] == ["corporation"]
    assert section["ignore"] == []


def test_labels_that_have_no_known_opposite_are_both_declared(tmp_path: Path) -> None:
    labels = ["Existing Customer"] * 4 + ["Attrited Customer"]

    section = suggested(tmp_path, small(labels)).section

    assert section["positive"] == "Attrited Customer"
    assert section["negative"] == "existing customer"


def test_every_spelling_of_a_label_is_shown(tmp_path: Path) -> None:
    found = suggested(tmp_path, small(["TRUE", "False", "false", "FALSE"]))

    assert found.section["positive"] == "TRUE"
    assert "spelled 'TRUE', 'False', 'false', 'FALSE'" in "\n".join(found.notices)


def test_a_named_target_wins(tmp_path: Path) -> None:
    columns = small(["a", "b"], churn=["0", "1"] * 20)

    assert suggested(tmp_path, columns).section["target"] == "churn"
    assert suggested(tmp_path, columns, "status").section["target"] == "status"


def test_a_folder_without_a_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="name it with --target"):
        suggested(
            tmp_path, {"n": [str(i % 7) for i in range(40)]} | {"m": ["1", "2", "3", "4"] * 10}
        )


def test_an_ambiguous_separator_is_declared(tmp_path: Path) -> None:
    columns = small(["yes", "no"], **{"a;b": ["1", "2", "3", "4"] * 10})

    assert suggested(tmp_path, columns).section["separator"] == ","


def test_a_blank_that_tells_who_left_is_a_leak(tmp_path: Path) -> None:
    columns = small(["no", "yes"], reason=["", "price"] * 10 + ["", "moved"] * 10)

    assert "reason" in suggested(tmp_path, columns).section["ignore"]


def test_the_split_keeps_every_row_once_and_the_share_of_leavers(tmp_path: Path) -> None:
    table = churn_tables.make_telecom(1000, 2)
    write(tmp_path / "data", table)

    done = CliRunner().invoke(
        suggest.command, ["suggest", str(tmp_path / "data"), "--split", "0.2", "--seed", "42"]
    )

    assert done.exit_code == 0, done.output
    train, test = (
        pd.read_csv(tmp_path / name / f"{name}.csv", dtype=str)
        for name in ("traindata", "testdata")
    )
    assert (len(train), len(test)) == (800, 200)
    assert sorted([*train["customerID"], *test["customerID"]]) == sorted(table["customerID"])
    shares = [(part["Churn"] == "Yes").mean() for part in (train, test)]
    assert shares[0] == pytest.approx(shares[1], abs=0.005)
    again = CliRunner().invoke(
        suggest.command, ["suggest", str(tmp_path / "data"), "--split", "0.2"]
    )
    assert again.exit_code == 65


def test_the_split_is_written_as_the_proposed_section_reads_it(tmp_path: Path) -> None:
    columns = small(["yes", "no", "no", "no"], **{"amount,eur": [str(i % 9) for i in range(40)]})
    path = write(tmp_path / "data", columns, ";")
    section = suggest.suggest([path]).section

    train, _ = suggest.split_off([path], section, fraction=0.2, seed=42)

    assert section["separator"] == ";"
    assert suggest.suggest([train]).section == section


def test_the_command_prints_a_section_that_is_json_and_nothing_else_on_its_output(
    tmp_path: Path,
) -> None:
    write(tmp_path, churn_tables.make_wireless(400, 3))

    done = subprocess.run(
        [sys.executable, "-m", "scripts.config", "suggest", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert json.loads(done.stdout)["schema"]["target"] == "Churn"
    assert "Likely leak: 'Retention offer'" in done.stderr


def test_an_empty_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    assert CliRunner().invoke(suggest.command, ["suggest", str(tmp_path)]).exit_code == 65


def test_rows_are_spelled_as_csv() -> None:
    text = suggest.spell_rows(pd.DataFrame({"a": ['x"y', "1,2"], "b": ["", "z"]}), ",")

    assert list(csv.reader(io.StringIO(text))) == [["a", "b"], ['x"y', ""], ["1,2", "z"]]
