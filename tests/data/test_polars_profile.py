"""Columns are counted by Polars as the rules count them, and a schema is inferred alike."""

import random
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.core.config import NumberMarks, Schema
from scripts.core.errors import DatasetError
from scripts.data import column_kinds, polars_profile, schema_inference, table_reader
from scripts.data.schema_inference import Inference
from tests.support.hostile_files import FORMATS, make_file

CELLS = [
    "", "1", "2.5", "1,234", "1.234,5", "12 %", "5%", "a", "b", "n/a", "2026-03-31", "31.3.26",
    "3/31/2026", "2026/03-31", "20260331", "1 Jan 2026", "Jan 5, 2026", "2026-03-31 12:30:00Z",
    "März 3, 2026", "a@b.example", "é@b.example", "www.example.com", "WWW.example.com", "http://x",
    "b.example/c", "+49 30 123456", "030/123456", "0301234567", "(030) 12 34 56 x12", "1000-5000",
    "٣٤٥ ٦٧٨٩", "²³ 123456", "one two three four", "une phrase très longue", "1e5", "9" * 17,
    "\uff11\uff12", "NULL", "-", "0000-00-00", "31.12.9999",
]  # fmt: skip
MARKS = [NumberMarks(), NumberMarks(decimal=",", thousands="."), NumberMarks(percent=True)]
OPEN = Schema(
    target="left", ids=("id",), numeric=(), categorical=(), inferred=("numeric", "categorical")
)


@pytest.mark.parametrize("marks", MARKS, ids=str)
@given(
    column=st.lists(
        st.sampled_from(CELLS)
        | st.text("0123456789-/.: ()+@aptxwäZ", max_size=14).map(str.strip)
        | st.dates().map(str)
        | st.from_regex(r"[+0(]?[0-9 ()/.-]{6,14}", fullmatch=True).map(str.strip),
        min_size=1,
        max_size=30,
    )
)
@settings(max_examples=80, deadline=None)
def test_a_column_has_the_profile_of_the_rules(marks: NumberMarks, column: list[str]) -> None:
    expected = schema_inference.profile_column(pd.Series(column, dtype="str"), marks)

    counts = polars_profile.count_column(pl.Series(column, dtype=pl.String), marks)

    assert schema_inference.make_profile(counts) == expected
    texts = {text: column.count(text) for text in column if text}
    assert counts.kinds == column_kinds.count_kinds(texts)


def infer_both(paths: list[Path], declared: Schema) -> Inference | str:
    """Infer a schema both ways, and return the result or the message of an error."""
    results: list[Inference | str] = []
    for infer in (schema_inference.infer_from_small, schema_inference.infer_from_large):
        try:
            results.append(infer(paths, declared))
        except DatasetError as error:
            results.append(str(error))
    assert results[0] == results[1]
    return results[1]


def test_both_ways_infer_the_same_schema_from_generated_files(tmp_path: Path) -> None:
    results = []
    for seed in range(120):
        draw = random.Random(seed)
        schema, header, separator = draw.choice(FORMATS[1:])
        paths = [tmp_path / f"{k}.csv" for k in range(draw.choice([1, 2, 3]))]
        for path in paths:
            content = b"".join(
                [make_file(draw, header, separator)]
                + [
                    make_file(draw, header, separator).split(b"\n", 1)[-1]
                    for _ in range(draw.choice([0, 5]))
                ]
            )
            path.write_bytes(content)
        declared = Schema(
            target="left", positive="yes", negative="no", ids=schema.ids, numeric=(),
            inferred=("numeric", "categorical"), decimal=schema.decimal,
            thousands=schema.thousands,
        )  # fmt: skip
        results.append(infer_both(paths, declared))

    assert sum(isinstance(result, Inference) for result in results) > 30
    assert sum(isinstance(result, str) for result in results) > 0


def test_both_ways_know_negative_rare_and_dated_columns(tmp_path: Path) -> None:
    lines = [
        f"c{k % 40},2026-0{k // 40 + 1}-01,{k}.5,{'abc'[k % 3]},{'yn'[k % 2]}" for k in range(200)
    ]
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("id,day,x,*,left\n" + "\n".join(lines * 2))
    second.write_text(
        "id,day,x,*,left,rare\n" + "\n".join(f"{line},{k % 3}" for k, line in enumerate(lines[:50]))
    )
    declared = Schema(
        target="left", positive="y", ids=("id",), numeric=(), date="day",
        inferred=("numeric", "categorical", "negative"),
    )  # fmt: skip

    inference = infer_both([first, second], declared)

    assert isinstance(inference, Inference)
    assert inference.schema.numeric == ("x",)
    assert inference.schema.categorical == ("*",)
    assert inference.schema.negative == "n"
    assert "fewer than half" in inference.set_aside["rare"]


def test_a_large_table_is_not_counted_cell_by_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "id,x,kind,left\n" + "".join(f"c{k},{k}.5,{'ab'[k % 2]},{k % 2}\n" for k in range(6000))
    )
    assert path.stat().st_size > table_reader.MANY_BYTES
    monkeypatch.delattr(schema_inference, "profile_column")

    schema = schema_inference.infer([path], OPEN).schema

    assert (schema.numeric, schema.categorical) == (("x",), ("kind",))
