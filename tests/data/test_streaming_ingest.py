"""Rows taken as bytes give what tables give: the same bytes, clients, rejected rows, readings."""

import random
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from scripts import ingestion
from scripts.core import capacity
from scripts.core.config import Config, EngineSettings, IngestionSettings, Schema
from scripts.core.errors import DatasetError
from scripts.data import (
    csv_blocks,
    csv_writer,
    dataset,
    deduplicate,
    streaming_deduplicate,
    streaming_ingest,
)
from scripts.data.streaming_ingest import FractionsError, Gathered
from scripts.engine import pandas_engine
from tests.support.hostile_files import FORMATS, HEADER, SCHEMA, make_file


def gather(
    paths: list[Path], schema: Schema, folder: Path, bound_bytes: int | None = None
) -> Gathered:
    """Gather rows as ingestion does."""
    return streaming_ingest.gather(
        paths, schema, folder,
        find_clients=pandas_engine.find_todays_clients, bound_bytes=bound_bytes,
        drop_equal=deduplicate.are_dropped_from_input(IngestionSettings(), schema),
    )  # fmt: skip


def write_files(folder: Path, draw: random.Random, header: str, separator: str) -> list[Path]:
    """Write a few files, some of them the same as another."""
    paths: list[Path] = []
    for number in range(draw.randrange(1, 5)):
        path = folder / f"{number}.csv"
        content = make_file(draw, header, separator)
        path.write_bytes(paths[0].read_bytes() if paths and draw.random() < 0.2 else content)
        paths.append(path)
    return paths


def check_agreement(paths: list[Path], schema: Schema, bound_bytes: int | None) -> int:
    """Read files as a table and as rows of bytes; return the number of rows of the dataset."""
    folder = paths[0].parent / "spill"
    why_none = ""
    try:
        table, clients, readings = pandas_engine.read_input(paths, schema)
    except DatasetError as error:
        why_none = str(error)
    if why_none:
        with pytest.raises((DatasetError, FractionsError)) as caught:
            gather(paths, schema, folder, bound_bytes)
        assert isinstance(caught.value, FractionsError) or str(caught.value) == why_none
        return 0
    try:
        found = gather(paths, schema, folder, bound_bytes)
    except FractionsError:
        assert bound_bytes is None
        return 0
    assert b"".join(found.parts) == b"".join(csv_writer.spell_table(table))
    assert found.n_rows == len(table)
    assert found.readings == readings
    pd.testing.assert_frame_equal(found.clients, clients)
    assert list(folder.iterdir()) == []
    return len(table)


def check_seeds(folder: Path, monkeypatch: pytest.MonkeyPatch, seeds: range) -> int:
    """Read generated files both ways, in blocks of all sizes, with and without a bound."""
    monkeypatch.setattr(dataset, "MANY_BYTES", 0)
    monkeypatch.setattr(streaming_deduplicate, "N_PARTS_BITS", 2)
    n_rows = 0
    for seed in seeds:
        draw = random.Random(seed)
        schema, header, separator = draw.choice([*FORMATS, (SCHEMA, HEADER, ",")])
        paths = write_files(folder, draw, header, separator)
        monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", draw.choice([1, 50, 300, 10_000]))
        n_rows += check_agreement(paths, schema, draw.choice([None, 1, 3000]))
    return n_rows


def test_rows_of_bytes_and_tables_agree_on_generated_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_seeds(tmp_path, monkeypatch, range(60)) > 500


@pytest.mark.campaign
def test_rows_of_bytes_and_tables_agree_on_many_generated_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_rounds = 3_000
    n_rows = check_seeds(tmp_path, monkeypatch, range(1000, 1000 + n_rounds))

    print(f"{n_rounds} rounds of one to four files, {n_rows} rows in datasets alike")


def write_input(config: Config, *files: list[str]) -> None:
    """Put files into the input folder, none else."""
    for path in config.input_folder_path.iterdir():
        path.unlink()
    for number, rows in enumerate(files):
        path = config.input_folder_path / f"{number}.csv"
        path.write_text("\n".join([HEADER, *rows]) + "\n")


def limit(config: Config, gigabytes: float = 1e-6) -> Config:
    """Give a config whose memory nothing fits into."""
    return msgspec.structs.replace(config, engine=EngineSettings(memory_limit_gb=gigabytes))


def ingest(config: Config) -> list[str]:
    """Ingest, and give the lines of the dataset."""
    return ingestion.main(config).dataset_path.read_text().splitlines()


def test_the_first_of_equal_rows_stays_across_files_beyond_memory(config: Config) -> None:
    write_input(config, ["a,1,2,3,0", "b,1,2,3,1"], ["b,01,2.0,3,1.0", "c,1,2,3,0", "a,1,2,3,0"])

    assert ingest(limit(config)) == [HEADER, "a,1,2,3,0", "b,1,2,3,1", "c,1,2,3,0"]


def test_one_fraction_changes_how_every_number_of_its_column_is_spelled(config: Config) -> None:
    write_input(config, ["a,1,2,3,0", "b,,2,3,1"], ["c,1.5,2,3,0", "a,1.0,2,3,0"])

    assert ingest(limit(config)) == ingest(config)
    assert ingest(limit(config))[1:] == ["a,1.0,2,3,0", "b,,2,3,1", "c,1.5,2,3,0"]


def test_a_file_that_is_refused_late_leaves_no_row(config: Config) -> None:
    write_input(config, ["a,1,2,3,0", "b,1,2,3,", "x" * 2**20 + ",1,2,3,0"], ["a,1,2,3,0"])

    made = ingestion.main(limit(config))

    assert made.dataset_path.read_text().splitlines() == [HEADER, "a,1,2,3,0"]
    assert made.clients.empty
    assert "longer than" in made.readings[0].refused


def test_added_cleaning_is_given_the_rows_in_parts_beyond_memory(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_input(config, ["a,1,2,3,0", "b,5,2,3,1"], ["c,7,2,3,0", "b,5,2,3,1"])
    monkeypatch.setattr(
        ingestion, "clean_more", lambda table: table[table["lastmonth_activity"] > 1]
    )

    assert ingest(limit(config)) == [HEADER, "b,5,2,3,1", "c,7,2,3,0"]


def test_added_cleaning_that_treats_parts_differently_is_refused(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_input(config, ["a,1,2,3,0"], ["c,7,2,3,0"])
    monkeypatch.setattr(
        ingestion,
        "clean_more",
        lambda table: table.assign(new=1) if table["lastmonth_activity"].iloc[0] > 1 else table,
    )

    with pytest.raises(DatasetError, match="must treat them alike"):
        ingest(limit(config))


@pytest.mark.parametrize(
    ("n_bytes", "gigabytes", "expected"),
    [
        (10**12, None, None),
        (1_000, 1.0, None),
        (125_000_000, 1.0, None),
        (125_000_001, 1.0, 187_500_000),
        (10**10, 0.1, capacity.LEAST_BYTES),
    ],
)
def test_what_does_not_fit_is_known_before_it_is_read(
    n_bytes: int, gigabytes: float | None, expected: int | None
) -> None:
    assert capacity.bound_bytes(n_bytes, EngineSettings(memory_limit_gb=gigabytes)) == expected
