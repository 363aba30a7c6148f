"""Ingestion of a folder of CSV files into a clean, dated dataset."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from scripts import ingestion, training
from scripts.core import artifacts
from scripts.core.artifacts import Kind
from scripts.core.config import Config, EngineSettings, IngestionSettings, Schema
from scripts.core.errors import DatasetError, InsufficientDataError
from scripts.data.deduplicate import Dropped
from scripts.engine import pandas_engine
from scripts.production import evaluation_data
from tests.conftest import HEADER, write_csv


def test_cleaning_keeps_the_first_of_equal_rows_in_order() -> None:
    table = pd.DataFrame({"corporation": ["b", "a", "b", "c"], "exited": [1, 0, 1, 0]})

    cleaned = pandas_engine.clean(table, None)

    assert cleaned["corporation"].tolist() == ["b", "a", "c"]
    assert cleaned.index.tolist() == [0, 1, 2]
    assert len(table) == 4


@pytest.mark.parametrize("memory_limit_gb", [None, 0.000001])
def test_added_cleaning_comes_before_duplicates_are_dropped_however_much_memory_there_is(
    config: Config, monkeypatch: pytest.MonkeyPatch, memory_limit_gb: float | None
) -> None:
    for path in config.input_folder_path.iterdir():
        path.unlink()
    write_csv(config.input_folder_path / "a.csv", ["a,1,2,3,0", "A,1,2,3,0", "b,5,2,3,1"])
    monkeypatch.setattr(
        ingestion,
        "clean_more",
        lambda table: table.assign(corporation=table["corporation"].str.lower()),
    )
    engine = EngineSettings(memory_limit_gb=memory_limit_gb)

    ingested = ingestion.main(msgspec.structs.replace(config, engine=engine))

    assert ingested.dataset_path.read_text().splitlines() == [HEADER, "a,1,2,3,0", "b,5,2,3,1"]


def test_main_writes_the_rows_of_all_files_without_duplicates(config: Config) -> None:
    ingested = ingestion.main(config)

    written = pd.read_csv(ingested.dataset_path)
    assert ingested.n_rows == len(written) == 26
    assert written["corporation"].tolist() == [f"c{number:02d}" for number in range(26)]
    assert written["exited"].sum() == 12


def test_main_lists_the_files_it_used_in_name_order(config: Config) -> None:
    ingested = ingestion.main(config)

    listed = Kind.INGESTED.path(config.output_folder_path, ingested.stamp).read_text().splitlines()
    assert [Path(line).name for line in listed] == ["a.csv", "b.csv"]


def test_a_dataset_without_its_list_of_files_does_not_count(config: Config) -> None:
    first = ingestion.main(config)
    second = ingestion.main(config)
    Kind.INGESTED.path(config.output_folder_path, second.stamp).unlink()

    latest = artifacts.find_latest(config.output_folder_path, Kind.DATASET, "ingestion")

    assert latest == first.dataset_path


def test_main_writes_rejected_rows_with_file_line_column_and_reason(config: Config) -> None:
    write_csv(config.input_folder_path / "c.csv", ["z,text,1,1,1", "y,5,5,5,0"])

    ingested = ingestion.main(config)

    rejected = pd.read_csv(Kind.REJECTED.path(config.output_folder_path, ingested.stamp))
    assert rejected[["file", "line", "column"]].to_numpy().tolist() == [
        ["c.csv", 2, "lastmonth_activity"]
    ]
    assert "expected a number" in rejected["reason"][0]
    assert ingested.n_rows == 27


def test_main_uses_the_other_files_when_one_is_refused(config: Config) -> None:
    (config.input_folder_path / "bad.csv").write_bytes(b"\xff\xfec\x00o\x00")

    ingested = ingestion.main(config)

    refused = [reading.path.name for reading in ingested.readings if reading.refused]
    assert refused == ["bad.csv"]
    assert ingested.n_rows == 26


def test_main_says_why_when_nothing_is_usable_and_writes_nothing(config: Config) -> None:
    for path in config.input_folder_path.iterdir():
        path.write_text("name;age\nx;1\n")

    with pytest.raises(DatasetError, match=r"No usable row .* lacks the columns"):
        ingestion.main(config)

    assert not config.output_folder_path.exists()


@pytest.mark.parametrize("content", ["", HEADER + "\n", HEADER])
def test_main_refuses_a_folder_of_empty_files(config: Config, content: str) -> None:
    for path in config.input_folder_path.iterdir():
        path.write_text(content)

    with pytest.raises(DatasetError, match="No usable row"):
        ingestion.main(config)


def test_main_says_that_the_folder_is_missing(config: Config) -> None:
    for path in config.input_folder_path.iterdir():
        path.unlink()
    config.input_folder_path.rmdir()

    with pytest.raises(DatasetError, match="cannot be listed"):
        ingestion.main(config)


def test_equal_files_give_an_equal_dataset(config: Config) -> None:
    first, second = ingestion.main(config), ingestion.main(config)

    assert first.dataset_path.read_bytes() == second.dataset_path.read_bytes()
    assert second.stamp > first.stamp


def test_rows_without_a_label_are_clients_and_leave_the_dataset_as_it_is(config: Config) -> None:
    before = ingestion.main(config)
    write_csv(config.input_folder_path / "c.csv", ["today1,5,,7,", "today2,1.5,6,7, "])

    ingested = ingestion.main(config)

    assert ingested.clients["corporation"].tolist() == ["today1", "today2"]
    assert ingested.dataset_path.read_bytes() == before.dataset_path.read_bytes()
    assert ingested.n_rows == 26
    assert not Kind.REJECTED.path(config.output_folder_path, ingested.stamp).exists()
    assert before.clients.empty


@pytest.mark.parametrize(
    ("rows", "months"),
    [
        (["x,1,2,3,", "y,4,5,6,", "x,7,8,9,"], [4, 7]),
        (["x,1,2,3,0", "x,4,5,6,"], [4]),
        (["x,1,2,3,", "x,4,5,6,0"], []),
        (["x,1,2,3,", "x,1,2,3,1", "x,1,2,3,"], [1]),
    ],
    ids=["two rows", "known before", "ended", "came back"],
)
def test_of_several_rows_of_a_client_the_last_counts(
    config: Config, rows: list[str], months: list[int]
) -> None:
    write_csv(config.input_folder_path / "c.csv", rows)

    ingested = ingestion.main(config)

    assert ingested.clients["lastmonth_activity"].tolist() == months


def test_clients_of_two_identifiers_are_told_apart_by_both(config: Config) -> None:
    schema = Schema(
        ids=("corporation", "number_of_employees"),
        numeric=("lastmonth_activity", "lastyear_activity"),
    )
    write_csv(config.input_folder_path / "c.csv", ["x,1,2,3,", "x,4,5,6,", "x,7,8,3,"])

    ingested = ingestion.main(msgspec.structs.replace(config, schema=schema))

    assert ingested.clients["lastmonth_activity"].tolist() == [4, 7]


def test_a_folder_of_nothing_but_clients_without_a_label_is_read(config: Config) -> None:
    for path in config.input_folder_path.iterdir():
        path.unlink()
    write_csv(config.input_folder_path / "today.csv", ["x,1,2,3,"])

    ingested = ingestion.main(config)

    assert ingested.clients["corporation"].tolist() == ["x"]
    assert ingested.n_rows == 0
    with pytest.raises(InsufficientDataError, match="0 rows cannot be split"):
        training.main(config)


PLAIN = Schema(ids=(), numeric=("calls", "fee"), target="left")
WAYS = {
    "a table": EngineSettings(),
    "rows of bytes": EngineSettings(),
    "in parts": EngineSettings(memory_limit_gb=1e-9),
}


def write_equal_rows(config: Config, *, many: bool) -> None:
    """Write 6 rows, of 4 leavers and 2 stayers, with 3 repeated rows."""
    for path in config.input_folder_path.iterdir():
        path.unlink()
    rows = ["1,2,1", "1,2,1", "1,2,1", "5,6,0", "5,6,0", "7,8,1"]
    filler = [f"{n},{n + 1},0" for n in range(10, 10_000)] if many else []
    text = "\n".join(["calls,fee,left", *rows, *filler, ""])
    (config.input_folder_path / "a.csv").write_text(text)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("ids", "declared", "n_dropped"),
    [((), None, 0), ((), True, 3), ((), False, 0), (("calls",), None, 3), (("calls",), False, 0)],
)
def test_equal_rows_are_dropped_with_ids_or_where_that_is_declared(
    config: Config,
    caplog: pytest.LogCaptureFixture,
    way: str,
    ids: tuple[str, ...],
    declared: bool | None,
    n_dropped: int,
) -> None:
    caplog.set_level("INFO")
    schema = msgspec.structs.replace(PLAIN, ids=ids, numeric=("calls", "fee")[len(ids) :])
    config = msgspec.structs.replace(
        config, schema=schema, engine=WAYS[way],
        ingestion=IngestionSettings(settle_s=0, drop_duplicates=declared),
    )  # fmt: skip
    is_many = way == "rows of bytes"
    write_equal_rows(config, many=is_many)
    n_read = 6 + (9990 if is_many else 0)

    ingested = ingestion.main(config)

    assert ingested.n_rows == n_read - n_dropped
    assert ingested.dropped == Dropped(n_dropped, 2 if n_dropped else 0)
    counts = f"Of {n_read} rows {ingested.n_rows} are used, 0 were rejected, {n_dropped} dropped"
    assert f"{counts} and 0 have no label (0 clients)." in caplog.text
    message = "Dropped 3 rows (2 of clients who left, 1 who stayed): equal to an earlier row."
    assert (message in caplog.text) == bool(n_dropped)


def test_own_cleaning_is_done_where_equal_rows_are_kept(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_equal_rows(config, many=False)
    monkeypatch.setattr(ingestion, "clean_more", lambda table: table[table["calls"] < 7])

    ingested = ingestion.main(msgspec.structs.replace(config, schema=PLAIN))

    assert (ingested.n_rows, ingested.dropped) == (5, Dropped(1, 1))
    # Nothing equal was dropped, so nothing of the kind is said.
    message = "Dropped 1 row (1 of clients who left, 0 who stayed): left out by clean_more.\n"
    assert message in caplog.text


@pytest.mark.parametrize(("declared", "n_rows"), [(None, 6), (True, 3), (False, 6)])
def test_equal_rows_of_the_test_data_are_dropped_only_where_that_is_declared(
    config: Config, declared: bool | None, n_rows: int
) -> None:
    write_equal_rows(config, many=False)
    config = msgspec.structs.replace(
        config, test_data_path=config.input_folder_path,
        ingestion=IngestionSettings(settle_s=0, drop_duplicates=declared),
    )  # fmt: skip

    table, _, dropped = evaluation_data.EvaluationData(config).read_counted(PLAIN)

    assert len(table) == n_rows
    assert dropped == Dropped(6 - n_rows, 2 if declared else 0)


def test_ingestion_imports_neither_scikit_learn_nor_polars() -> None:
    code = (
        "import sys, scripts.ingestion\n"
        "print([name for name in ('sklearn', 'scipy', 'polars') if name in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert found.stdout == "[]\n"
