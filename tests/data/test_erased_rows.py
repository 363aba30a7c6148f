"""Rows of erased clients are rejected by every reader of tables, without any of their cells."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from scripts.core import erased_clients
from scripts.core.config import OutcomeSettings, Schema
from scripts.core.erased_clients import ErasedClients
from scripts.core.errors import DatasetError
from scripts.data import (
    csv_reader,
    dataset,
    known_outcomes,
    outcome_files,
    polars_ranges,
    polars_reader,
    read_report,
)
from scripts.data.polars_ranges import Range, Report, RowForm
from scripts.data.read_report import FileReading

KEY = bytes(range(32))
SCHEMA = Schema(ids=("id",), numeric=("a",), categorical=("c",), negative=0)
HEADER = "id,a,c,exited\n"


@contextmanager
def refusing(*names: str) -> Iterator[None]:
    """Refuse the rows of some clients."""
    hashes = frozenset(erased_clients.hash_client(KEY, name) for name in names)
    with erased_clients.refused(ErasedClients(KEY, hashes)):
        yield


def read_both(path: Path, schema: Schema) -> list[tuple[FileReading, list[str]]]:
    """Read a file by the rules of rows and by Polars."""
    by_rows, columns = csv_reader.read_file(path, path.parent, schema, needs_label=False)
    by_polars, parts = polars_reader.read_file(path, path.parent, schema, needs_label=False)
    ids = [text for part in parts for text in part[schema.ids[0]].to_list()]
    return [(by_rows, columns[schema.ids[0]]), (by_polars, ids)]


def test_every_row_of_an_erased_client_is_rejected_by_both_readers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f'{HEADER}x,1,p,1\ny,2,q,0\n"x",3,p,\n x ,4,p,0\n')

    with refusing("x"):
        found = read_both(path, SCHEMA)

    for reading, ids in found:
        assert ids == ["y"]
        assert [row.line for row in reading.rejected] == [2, 4, 5]
        assert {row.reason for row in reading.rejected} == {erased_clients.REASON}
        assert reading.n_rows == 4


def test_a_wrong_cell_of_an_erased_client_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}x,secret,p,1\ny,wrong,q,0\n")

    with refusing("x"):
        found = read_both(path, SCHEMA)

    for reading, _ in found:
        text = read_report.format_rejected([reading])
        assert "secret" not in text
        assert "wrong" in text


def test_a_client_of_several_identifiers_is_named_as_on_the_list(tmp_path: Path) -> None:
    schema = Schema(ids=("id", "site"), numeric=("a",), categorical=(), negative=0)
    path = tmp_path / "a.csv"
    path.write_text("id,site,a,exited\nx,1,1,1\nx,2,2,0\n")

    with refusing("x | 1"):
        found = read_both(path, schema)

    assert [reading.rejected[0].line for reading, _ in found] == [2, 2]
    assert [ids for _, ids in found] == [["x"], ["x"]]


def test_by_a_key_every_row_of_the_client_is_rejected_whatever_the_other_identifiers(
    tmp_path: Path,
) -> None:
    schema = Schema(ids=("id", "mail"), key="id", numeric=("a",), categorical=(), negative=0)
    path = tmp_path / "a.csv"
    path.write_text("id,mail,a,exited\nx,m@x,1,1\nx,n@x,2,0\ny,m@x,3,0\n")

    with refusing("x"):
        found = read_both(path, schema)

    assert [ids for _, ids in found] == [["y"], ["y"]]


def test_outcomes_of_an_erased_client_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "left.csv"
    path.write_text("id,left\nx,2026-01-31\ny,2026-01-31\n")
    settings = OutcomeSettings(input_folder_path=tmp_path, date="left", horizon_days=30)
    schema = Schema(ids=("id",), key="id", date="day", numeric=("a",), categorical=())

    with refusing("x"):
        records, reading = outcome_files.read_records(path, settings, schema)

    assert records[known_outcomes.KEY].tolist() == ["y"]
    assert len(reading.rejected) == 1


def test_a_dataset_that_still_has_an_erased_client_is_not_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "finaldata.csv"
    path.write_text(f"{HEADER}x,1,p,1\ny,2,q,0\n")

    with refusing("x"), pytest.raises(DatasetError, match="its client was erased"):
        dataset.read_dataset(path, SCHEMA)


def test_nobody_is_refused_outside(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}x,1,p,1\n")
    with refusing("x"):
        pass

    assert [ids for _, ids in read_both(path, SCHEMA)] == [["x"], ["x"]]


def test_a_task_on_a_cluster_refuses_the_clients_that_its_form_was_made_with(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}x,1,p,1\ny,2,q,0\n")
    with refusing("x"):
        form = pickle.loads(pickle.dumps(RowForm(SCHEMA)))

    # Nobody is refused in the process of the task.
    rows, report = polars_ranges.read_range(path, Range(0, path.stat().st_size), form)

    assert isinstance(rows, pl.DataFrame)
    assert isinstance(report, Report)
    assert rows["id"].to_list() == ["y"]
    assert [row.reason for row in report.reading.rejected] == [erased_clients.REASON]
