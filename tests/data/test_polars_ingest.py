"""Ingestion with Polars writes what the rules write: bytes, clients, dropped rows, reports."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from scripts.core.config import IngestionSettings, Schema
from scripts.core.errors import DatasetError
from scripts.data import (
    csv_writer,
    dataset,
    deduplicate,
    polars_dataset,
    polars_ingest,
    polars_reader,
    polars_repeats,
    table_reader,
)
from scripts.engine import pandas_engine
from tests.support.hostile_files import FORMATS, HEADER, SCHEMA, make_file

MEASURES = Schema(ids=("id", "site"), numeric=("n", "x"), categorical=("kind",), target="left")
SINGLE = Schema(ids=(), numeric=("n",), categorical=("kind",), target="left")


def make_clients(draw: random.Random, schema: Schema) -> bytes:
    """Make a file of few clients, who come again with and without a label."""
    numbers = draw.choice([["1", "2", "7"], ["1", "", "2.0"], ["1", "0.5", "1e-5", "-3e-9", ""]])
    lines = [",".join(schema.columns)]
    for _ in range(draw.randrange(40)):
        row = [draw.choice(["a", "b|", "c d", '"e,f"', "é\\"]) for _ in schema.ids]
        row += [draw.choice(numbers) for _ in schema.numeric]
        row += [draw.choice(["x", "y", "", '"p ""q"""']) for _ in schema.categorical]
        lines.append(",".join([*row, draw.choice(["0", "1", "", "1.0", "maybe"])]))
    return ("\n".join(lines) + "\n").encode()


def write_files(folder: Path, draw: random.Random) -> tuple[list[Path], Schema]:
    """Write a few files of one schema, some of them the same as another."""
    schema, header, separator = draw.choice([*FORMATS, (SCHEMA, HEADER, ",")])
    own = draw.choice([None, SCHEMA, MEASURES, SINGLE])
    paths: list[Path] = []
    for number in range(draw.randrange(1, 5)):
        content = make_clients(draw, own) if own else make_file(draw, header, separator)
        path = folder / f"{number}.csv"
        path.write_bytes(paths[0].read_bytes() if paths and draw.random() < 0.2 else content)
        paths.append(path)
    return paths, own or schema


def check_agreement(paths: list[Path], schema: Schema, settings: IngestionSettings) -> int:
    """Ingest files by the rules and with Polars, and return the number of rows of the dataset."""
    drop_equal = deduplicate.are_dropped_from_input(settings, schema)
    why_none = ""
    try:
        table, dropped, clients, readings = pandas_engine.read_table(paths, schema, settings)
    except DatasetError as error:
        why_none = str(error)
    if why_none:
        with pytest.raises(DatasetError) as caught:
            polars_ingest.ingest(paths, schema, drop_equal=drop_equal)
        assert str(caught.value) == why_none
        return 0
    result = polars_ingest.ingest(paths, schema, drop_equal=drop_equal)
    assert b"".join(result.parts) == b"".join(csv_writer.encode_table(table))
    assert (result.n_rows, result.dropped) == (len(table), dropped)
    assert result.readings == readings
    pd.testing.assert_frame_equal(result.clients, clients)
    by_rules, _ = dataset.read_small_files(paths, schema, needs_label=False)
    by_polars, _ = dataset.read_large_files(paths, schema, needs_label=False)
    pd.testing.assert_frame_equal(by_polars, by_rules)
    return len(table)


def check_seeds(folder: Path, monkeypatch: pytest.MonkeyPatch, seeds: range) -> int:
    """Ingest generated folders both ways, in blocks and parts of all sizes."""
    monkeypatch.setattr(table_reader, "MANY_BYTES", 2**40)
    n_rows = 0
    for seed in seeds:
        draw = random.Random(seed)
        paths, schema = write_files(folder, draw)
        monkeypatch.setattr(polars_reader, "BLOCK_BYTES", draw.choice([1, 50, 300, 10_000]))
        monkeypatch.setattr(polars_dataset, "PART_ROWS", draw.choice([1, 3, 1000]))
        settings = IngestionSettings(drop_duplicates=draw.choice([None, True, False]))
        n_rows += check_agreement(paths, schema, settings)
    return n_rows


def test_polars_and_the_rules_agree_on_generated_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_seeds(tmp_path, monkeypatch, range(40)) > 250


@pytest.mark.campaign
def test_polars_and_the_rules_agree_on_many_generated_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_rounds = 3_000
    n_rows = check_seeds(tmp_path, monkeypatch, range(1000, 1000 + n_rounds))

    print(f"{n_rounds} rounds of one to four files, {n_rows} rows in datasets alike")


@pytest.mark.parametrize("n_rows", [0, 1, 2, 3, 50, 2000])
@pytest.mark.parametrize("seed", range(5))
def test_the_repeated_rows_are_those_of_pandas(seed: int, n_rows: int) -> None:
    draw = random.Random(seed)
    texts = ["", "a", "b", "exactly8", "exactly8b", "a much longer name of a client", "é", "株"]
    table = pl.DataFrame(
        {
            "text": pl.Series(draw.choices(texts, k=n_rows), dtype=pl.String),
            "number": pl.Series(draw.choices([0.0, 1.0, 2.5, None], k=n_rows), dtype=pl.Float64),
            "count": pl.Series(draw.choices([0, 1, None, 2**53], k=n_rows), dtype=pl.Int64),
        }
    )

    assert polars_repeats.find_repeats(table).tolist() == table.to_pandas().duplicated().tolist()


def test_rows_whose_hashes_are_equal_by_chance_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = pl.DataFrame(
        {"a": ["x", "y", "x", None, "y", ""], "n": [1.5, 2.0, 1.5, None, 2.0, 1.0]}
    )
    monkeypatch.setattr(polars_repeats, "hash_rows", lambda _: np.full(6, 7, np.uint64))

    assert polars_repeats.find_repeats(table).tolist() == [False, False, True, False, True, False]


def test_a_million_clients_without_a_label_cost_as_much_as_rows_with_one() -> None:
    n_rows = 1_000_000
    numbers = pl.Series(np.arange(n_rows))
    table = pl.DataFrame(
        {"corporation": numbers.cast(pl.String)}
        | dict.fromkeys(SCHEMA.numeric, numbers)
        | {"exited": pl.Series([-1]).new_from_index(0, n_rows).cast(pl.Int8)}
    )

    clients = polars_dataset.find_todays_clients(pl.concat([table, table]), SCHEMA)

    assert clients.height == n_rows


def test_the_smallest_numbers_are_written_as_python_writes_them() -> None:
    numbers = [1e-4, 9.999e-5, -1e-5, 1e-7, 5e-324, 0.0, 2.0, None, 9007199254740992.0]
    table = pl.DataFrame({"id": ["a"] * 9, "n": numbers})

    lines = b"".join(polars_dataset.encode_rows(table)).decode().splitlines()

    assert lines == ["id,n", *(f"a,{'' if n is None else repr(n)}" for n in numbers)]
