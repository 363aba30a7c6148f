"""Ingestion beyond memory writes what ingestion in memory writes."""

import random
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.typing import NDArray

from scripts import ingestion
from scripts.core import capacity
from scripts.core.config import Config, EngineSettings, IngestionSettings, Schema
from scripts.core.errors import DatasetError
from scripts.data import (
    deduplicate,
    polars_ingest,
    polars_reader,
    polars_repeats,
    spilled_ingest,
)
from scripts.data.polars_dataset import Ingested
from scripts.data.spilled_ingest import RowComparer, RowFiles, SharedHashFinder
from tests.data.test_polars_ingest import write_files
from tests.support.hostile_files import HEADER


def drop_large(table: pd.DataFrame) -> pd.DataFrame:
    """Clean as a user may: leave rows out."""
    return table[pd.to_numeric(table[table.columns[-2]], errors="coerce") != 7]


def read_both(paths: list[Path], schema: Schema, draw: random.Random) -> list[Ingested | str]:
    """Ingest files in memory and beyond memory, with an error as its message."""
    settings = IngestionSettings(drop_duplicates=draw.choice([None, True, False]))
    drop_equal = deduplicate.are_dropped_from_input(settings, schema)
    clean = draw.choice([None, None, drop_large])
    folder, bound = paths[0].parent / "spill", draw.choice([1, 3000, 10**6])
    results: list[Ingested | str] = []
    for beyond in (False, True):
        try:
            results.append(
                spilled_ingest.ingest(
                    paths, schema, folder, bound_bytes=bound, drop_equal=drop_equal, clean=clean
                )
                if beyond
                else polars_ingest.ingest(paths, schema, drop_equal=drop_equal, clean=clean)
            )
        except DatasetError as error:
            results.append(str(error))
    return results


def check_agreement(paths: list[Path], schema: Schema, draw: random.Random) -> int:
    """Compare both results, and return the number of rows of the dataset."""
    within, beyond = read_both(paths, schema, draw)
    if isinstance(within, str) or isinstance(beyond, str):
        assert within == beyond
        return 0
    assert b"".join(beyond.parts) == b"".join(within.parts)
    assert (beyond.n_rows, beyond.n_labelled) == (within.n_rows, within.n_labelled)
    assert (beyond.dropped, beyond.readings) == (within.dropped, within.readings)
    pd.testing.assert_frame_equal(beyond.clients, within.clients)
    assert list((paths[0].parent / "spill").iterdir()) == []
    return within.n_rows


def check_seeds(folder: Path, monkeypatch: pytest.MonkeyPatch, seeds: range) -> int:
    """Ingest generated folders both ways, in blocks of all sizes."""
    monkeypatch.setattr(spilled_ingest, "N_PARTS_BITS", 2)
    n_rows = 0
    for seed in seeds:
        draw = random.Random(seed)
        paths, schema = write_files(folder, draw)
        monkeypatch.setattr(polars_reader, "BLOCK_BYTES", draw.choice([50, 300, 10_000]))
        n_rows += check_agreement(paths, schema, draw)
    return n_rows


def test_both_ingestions_agree_on_generated_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_seeds(tmp_path, monkeypatch, range(30)) > 250


@pytest.mark.campaign
def test_both_ingestions_agree_on_many_generated_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_rounds = 3_000
    n_rows = check_seeds(tmp_path, monkeypatch, range(1000, 1000 + n_rounds))

    print(f"{n_rounds} rounds of one to four files, {n_rows} rows in datasets alike")


def few_hashes(table: pl.DataFrame, key: int = 0) -> NDArray[np.uint64]:
    """Return one of three hashes for a row, for different rows with equal hashes."""
    numbers = table.to_series(0).hash(key).to_numpy() % np.uint64(3)
    return np.asarray(numbers << np.uint64(62), np.uint64)


def test_rows_whose_hashes_another_row_has_are_found_across_files(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).integers(0, 3000, 3000)
    finder = SharedHashFinder(tmp_path, key=5, bound_bytes=10_000)

    for start in range(0, 3000, 70):
        finder.add(pl.DataFrame({"n": numbers[start : start + 70]}))

    expected = pd.Series(numbers).duplicated(keep=False).tolist()
    assert finder.find().tolist() == expected
    assert list(tmp_path.iterdir()) == []


def test_equal_rows_take_no_more_room_in_the_files_of_hashes_than_one(tmp_path: Path) -> None:
    finder = SharedHashFinder(tmp_path, key=5, bound_bytes=1)

    finder.add(pl.DataFrame({"n": [7] * 1000}))

    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 16
    assert finder.find().all()


def test_repeats_are_found_cell_by_cell_across_files_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polars_repeats, "hash_rows", few_hashes)
    numbers = np.random.default_rng(1).integers(0, 500, 3000)
    comparer = RowComparer(tmp_path, key=5, bound_bytes=10_000, n_bytes=40_000)

    for start in range(0, 3000, 70):
        part = pl.DataFrame({"n": numbers[start : start + 70], "text": None})
        comparer.add(part, np.arange(start, start + part.height))

    expected = pd.Series(numbers).duplicated().to_numpy().nonzero()[0].tolist()
    assert sorted(comparer.find().tolist()) == expected
    assert list(tmp_path.iterdir()) == []


def test_different_rows_with_equal_hashes_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polars_repeats, "hash_rows", few_hashes)

    assert check_seeds(tmp_path, monkeypatch, range(10)) > 50


def test_cleaned_rows_without_the_target_have_no_known_classes(tmp_path: Path) -> None:
    rows = RowFiles(tmp_path, None)
    rows.put(pl.DataFrame({"n": [1, 1]}))

    is_repeat = spilled_ingest.find_repeats(rows, 1000)

    assert is_repeat.tolist() == [False, True]
    assert spilled_ingest.count_kept_positives(rows, "exited", is_repeat) is None


def write_input(config: Config, *files: list[str]) -> None:
    """Write files into the emptied input folder."""
    for path in config.input_folder_path.iterdir():
        path.unlink()
    for number, rows in enumerate(files):
        path = config.input_folder_path / f"{number}.csv"
        path.write_text("\n".join([HEADER, *rows]) + "\n")


def limit(config: Config, gigabytes: float = 1e-6) -> Config:
    """Return a config with a memory limit below any table."""
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
