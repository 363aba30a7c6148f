"""Columns that are no features are read for today's clients, from files of every size."""

from pathlib import Path

import pandas as pd
import pytest
from msgspec.structs import replace

from scripts.core.config import FILE_NAME, Schema
from scripts.data import kept_columns, table_reader

SCHEMA = Schema(target="left", ids=("id",), key="id", numeric=("n",), categorical=("plan",))
DATED = replace(SCHEMA, ids=("id", "day"), date="day")
FIRST = "id,n,plan,left,firm,money\na,1,x,0,Old,1\nb,1,x,,Bee,2\nb,2,x,,,3\n"
SECOND = 'plan,firm,id,n,left\nx,"Aa, Ltd",a,4,\nx,Cee,c,4,1\n'


@pytest.fixture(params=["small", "large"])
def _size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files of a test be read by the rules of rows, or by Polars."""
    if request.param == "large":
        monkeypatch.setattr(table_reader, "MANY_BYTES", 0)


def write(folder: Path, **files: str) -> list[Path]:
    """Write files, and return their paths in the order given."""
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content)
    return [folder / f"{name}.csv" for name in files]


@pytest.mark.usefixtures("_size")
def test_the_last_row_of_a_client_counts_and_a_file_may_lack_a_column(tmp_path: Path) -> None:
    paths = write(tmp_path, a=FIRST, b=SECOND, c="who,knows\n1,2\n")
    today = pd.DataFrame({"id": ["b", "a", "nobody"]})

    read = kept_columns.read(paths, SCHEMA, ["firm", "money", "none"], today)

    # The newest file has no money.
    assert read.to_dict("list") == {
        "firm": ["", "Aa, Ltd", ""], "money": ["3", "", ""], "none": ["", "", ""],
    }  # fmt: skip


@pytest.mark.usefixtures("_size")
def test_of_dated_rows_the_row_of_the_client_s_day_counts(tmp_path: Path) -> None:
    header = "day,id,n,plan,firm"
    rows = [f"{header}\n2025-02-01,a,1,x,New\n", f"{header}\n2025-01-01,a,1,x,Old\n"]
    paths = write(tmp_path, a=rows[0], z=rows[1], y=f"{header}\n2025-01-01,b,1,x,Bee\n")
    today = pd.DataFrame({"id": ["a", "b"], "day": ["2025-02-01", "2025-01-01"]})

    assert kept_columns.read(paths, DATED, ["firm"], today)["firm"].tolist() == ["New", "Bee"]


@pytest.mark.usefixtures("_size")
def test_the_day_may_stand_in_the_name_of_the_file(tmp_path: Path) -> None:
    schema = replace(DATED, date=FILE_NAME, ids=("id", "as_of"))
    files = {"b 2025-01-31": "id,n,plan,firm\na,1,x,Old\n", "a 2025-02-28": "id,firm\na,New\n"}
    paths = write(tmp_path, **files, **{"no day": "id,firm\na,Wrong\n"})
    today = pd.DataFrame({"id": ["a"], "as_of": ["2025-02-28"]})

    assert kept_columns.read(paths, schema, ["firm"], today)["firm"].tolist() == ["New"]


@pytest.mark.usefixtures("_size")
def test_several_identifiers_make_the_name(tmp_path: Path) -> None:
    schema = replace(SCHEMA, ids=("id", "n"), key=SCHEMA.date, numeric=())
    paths = write(tmp_path, a=FIRST)
    today = pd.DataFrame({"id": ["b", "b"], "n": ["1", "3"]})

    assert kept_columns.read(paths, schema, ["firm"], today)["firm"].tolist() == ["Bee", ""]


def test_nothing_is_read_without_files_and_clients() -> None:
    assert kept_columns.read(
        [], SCHEMA, ["firm"], pd.DataFrame({"id": pd.Series(dtype="str")})
    ).empty
    read = kept_columns.read([], SCHEMA, ["firm"], pd.DataFrame({"id": ["a"]}))
    assert read.to_dict("list") == {"firm": [""]}


def test_numbers_are_numbers_and_names_codes_and_dates_are_texts() -> None:
    table = pd.DataFrame(
        {
            "money": ["1,200.5", ""], "code": ["007", "1"], "firm": ["12", "3"],
            "since": ["31.12.2024", "soon"], "note": ["a\0b", "x" * 300], "blank": ["", ""],
        }
    )  # fmt: skip
    schema = replace(SCHEMA, thousands=",", date="day", dates={"since": "%d.%m.%Y"})

    found = kept_columns.convert(table, ["firm"], schema)

    assert found["money"].tolist()[0] == 1200.5
    assert found["code"].tolist() == ["007", "1"]
    assert found["firm"].tolist() == ["12", "3"]
    assert found["since"].tolist() == ["2024-12-31", "soon"]
    assert found["note"].tolist() == ["a b", "x" * 199 + "…"]
    assert found["blank"].tolist() == ["", ""]


def test_features_and_what_names_a_row_are_not_kept_twice() -> None:
    columns = kept_columns.choose_columns(
        ["firm", "mail"], ["n", "firm", "country", "day", "id"], DATED, ["n", "plan"]
    )

    assert columns == ("firm", "mail", "country")
