"""Client tables: reading from CSV files, features X and target y, summary statistics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from numpy.typing import NDArray

from scripts.core import files
from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.core.name_hashes import NameFilter, NameHashes, hash_names
from scripts.data import csv_reader, csv_writer, deduplicate, profile, read_report, table_reader
from scripts.data.cells import MISSING_CATEGORY, UNLABELLED, name_client
from scripts.data.csv_reader import RefusedFileError
from scripts.data.profile import ColumnSummary
from scripts.data.read_report import FileReading

# A category with a smaller share of the rows is too rare for a weight of its own.
RARE_FRACTION = 0.005
PART_ROWS = 2**16


def as_integers(column: pd.Series) -> pd.Series:
    """Return a float column as integers if every value is a whole number, else unchanged."""
    values = column.to_numpy()
    # A missing value, NaN, equals nothing. In parts, so that a large column needs little memory.
    parts = (values[start : start + PART_ROWS] for start in range(0, len(values), PART_ROWS))
    whole = len(values) > 0 and all((part == np.floor(part)).all() for part in parts)
    return column.astype(np.int64) if whole else column


def make_column(name: str, values: Any, schema: Schema) -> pd.Series:
    """Return a column of a client table: text, numbers, or the target as 0 and 1."""
    if name not in schema.numeric:
        return pd.Series(values, dtype=np.int64 if name == schema.target else "str")
    numbers = pd.Series(np.asarray(values), copy=False)
    # Integers already where the blocks held whole numbers only; a list holds floats.
    return numbers if numbers.dtype == np.int64 else as_integers(numbers.astype(np.float64))


def make_table(columns: Mapping[str, Any], schema: Schema) -> pd.DataFrame:
    """Return a client table made of columns."""
    return pd.DataFrame({name: make_column(name, columns[name], schema) for name in schema.columns})


def read_small_files(
    paths: Sequence[Path], schema: Schema, *, needs_label: bool = True
) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read small files row by row."""
    readings: list[FileReading] = []
    gathered: dict[str, list[Any]] = {name: [] for name in schema.columns}
    for path in paths:
        reading, columns = csv_reader.read_file(path, path.parent, schema, needs_label=needs_label)
        readings.append(reading)
        for name, values in columns.items():
            gathered[name].extend(values)
    return make_table(gathered, schema), readings


def read_large_files(
    paths: Sequence[Path], schema: Schema, *, needs_label: bool = True
) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read large files with Polars, with the same result."""
    read = table_reader.import_polars().read_tables
    table, readings = read(paths, schema, needs_label=needs_label)
    return table, readings


def read_files(
    paths: Sequence[Path], schema: Schema, *, needs_label: bool = True
) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read files row by row if they are small, else with Polars."""
    read = read_large_files if table_reader.are_large(paths) else read_small_files
    return read(paths, schema, needs_label=needs_label)


def read_tables(
    paths: Sequence[Path], schema: Schema, *, needs_label: bool = True
) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read files strictly, in the order given, into a table.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        The columns.
    needs_label : bool
        Reject rows whose target is empty; otherwise `split_unlabelled` separates them.

    Returns
    -------
    tuple of pandas.DataFrame of shape (n_rows, n_columns) and list of FileReading
        The accepted rows in file order, columns in the order of `schema.columns`; one report per
        file, with the rejected rows and their reasons.

    Raises
    ------
    DatasetError
        If no row is usable.

    Notes
    -----
    docs/own-data.md, section "Ingestion".
    """
    table, readings = read_files(paths, schema, needs_label=needs_label)
    if table.empty:
        raise DatasetError(f"No usable row was found. {read_report.format_complaints(readings)}")
    return table, readings


def split_unlabelled(table: pd.DataFrame, schema: Schema) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a table into labelled and unlabelled rows, each in their order.

    Unlabelled rows are today's clients, whose outcome is not known yet. The types of the labelled
    table are those of a table read without the unlabelled rows.
    """
    is_unlabelled = table[schema.target] == UNLABELLED
    if not is_unlabelled.any():
        return table, table.iloc[:0]
    labelled = table[~is_unlabelled].reset_index(drop=True)
    for name in schema.numeric:
        labelled[name] = as_integers(labelled[name])
    return labelled, table[is_unlabelled].reset_index(drop=True)


def client_names(table: pd.DataFrame, schema: Schema) -> pd.Series:
    """Return the client name of each row, made of the identifiers."""
    ids = schema.client_ids
    if len(ids) == 1:
        return table[ids[0]]
    rows = zip(*(table[name] for name in ids), strict=True)
    return pd.Series([name_client(row) for row in rows], index=table.index, dtype="str")


def are_among(keys: "pd.Series[str]", others: "pd.Series[str]") -> NDArray[np.bool_]:
    """Return which keys are among others.

    `isin` of pandas takes ten times as long for texts of Arrow.
    """
    texts, values = (pa.array(column.astype("str"), pa.large_string()) for column in (keys, others))
    found: NDArray[np.bool_] = np.asarray(pc.is_in(texts, value_set=values))
    return found


def read_test_table(place: Path, schema: Schema) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read the test data and log a warning for each file with unused rows."""
    paths = files.list_tables(place)
    files.check_has_tables(paths, place)
    table, readings = read_tables(paths, schema)
    read_report.log_readings(readings)
    return table, readings


def check_ingested(reading: FileReading) -> None:
    """Raise a DatasetError if any row of a dataset was rejected."""
    if reading.refused or reading.rejected:
        reason = read_report.first_reasons(reading)[0]
        raise DatasetError(
            f"{reading.path} is not as ingestion wrote it: {reason}. Run ingestion again."
        )


def check_is_table(path: Path) -> None:
    """Refuse a dataset of the Spark engine, a folder of parts."""
    if path.is_dir():
        raise DatasetError(
            f"{path} is a dataset of the Spark engine, in parts; this is done on the pandas engine"
            " only."
        )


def read_dataset(path: Path, schema: Schema) -> tuple[pd.DataFrame, str]:
    """Return the table and the SHA-256 of a dataset written by ingestion.

    Raises
    ------
    DatasetError
        If any row is not as ingestion writes it.
    """
    check_is_table(path)
    table, (reading,) = read_files([path], csv_writer.ingested_schema(schema))
    check_ingested(reading)
    return table, reading.sha256


def iterate_dataset(path: Path, schema: Schema) -> Iterator[pd.DataFrame]:
    """Read a dataset written by ingestion, a part of the rows at a time.

    Parameters
    ----------
    path : Path
        Its file.
    schema : Schema
        Its columns.

    Yields
    ------
    pandas.DataFrame of shape (n_rows, n_columns)
        Rows in their order. A column may hold integers in one part and floats in the next.

    Raises
    ------
    DatasetError
        If any row is not as ingestion writes it, perhaps after the first parts.
    """
    check_is_table(path)
    if not table_reader.are_large([path]):
        yield read_dataset(path, schema)[0]
        return
    written = csv_writer.ingested_schema(schema)
    reading = csv_reader.new_reading(path, written)
    try:
        yield from table_reader.import_polars().iterate_tables(path, written, reading)
    except RefusedFileError as error:
        csv_reader.refuse(reading, error)
    check_ingested(reading)


def encode_schema(schema: Schema) -> bytes:
    """Encode a schema as JSON, equal schemas as equal bytes."""
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=2) + b"\n"


def read_schema(path: Path, declared: Schema) -> Schema:
    """Read the schema written by ingestion beside a dataset.

    Datasets of earlier versions lack the file. Their schema is the declared one, if complete.

    Raises
    ------
    DatasetError
        If the file is damaged, or missing where it is needed.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Schema)
    except FileNotFoundError as error:
        if declared.inferred:
            raise DatasetError(f"{path} is missing; run ingestion again.") from error
        return declared
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not as ingestion wrote it; run ingestion again.") from error


def features(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return the feature columns X of a table, shape (n_rows, n_features).

    Missing values in text columns are "".

    Raises
    ------
    DatasetError
        If the table lacks a feature, as when a model was trained on another schema.
    """
    lacking = [name for name in schema.features if name not in table.columns]
    if lacking:
        raise DatasetError(f"The table lacks the columns {lacking}; it has {list(table.columns)}.")
    numeric = {name: table[name].astype(np.float64) for name in schema.numeric}
    texts = {
        name: table[name].fillna(MISSING_CATEGORY).astype(object) for name in schema.categorical
    }
    return pd.DataFrame(numeric | texts, index=table.index, columns=list(schema.features))


def target(table: pd.DataFrame, schema: Schema) -> NDArray[np.int64]:
    """Return the target y of a table, shape (n_rows,): 1 left, 0 stayed."""
    return table[schema.target].to_numpy(dtype=np.int64)


def feature_arrays(table: pd.DataFrame, schema: Schema) -> dict[str, NDArray[Any]]:
    """Return the features as arrays by name, the input of `logistic_model.probabilities`."""
    X = features(table, schema)
    return {name: X[name].to_numpy() for name in schema.features}


def missing_fractions(table: pd.DataFrame) -> dict[str, float]:
    """Compute the fraction of missing values of each column, in [0, 1].

    Raises
    ------
    DatasetError
        If the table has no row.
    """
    if table.empty:
        raise DatasetError(
            "The table has no row, so the fractions of missing values are not defined."
        )
    is_missing = table.isna() | (table == "")
    return {str(name): float(fraction) for name, fraction in is_missing.mean().items()}


def summarise(table: pd.DataFrame, schema: Schema) -> tuple[ColumnSummary, ...]:
    """Compute mean, median and standard deviation of the numeric features, then of the target.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        A client table. Missing values are ignored.
    schema : Schema
        Its columns.

    Returns
    -------
    tuple of ColumnSummary
        In the unit of each column. The standard deviation has n - 1 in the denominator. It is
        None for fewer than two values. Without any value all three are None.

    Notes
    -----
    pandas.Series.mean, .median and .std.
    """
    return tuple(
        ColumnSummary(
            column=name,
            mean=profile.finite_or_none(table[name].mean()),
            median=profile.finite_or_none(table[name].median()),
            standard_deviation=profile.finite_or_none(table[name].std()),
        )
        for name in (*schema.numeric, *([schema.target] if schema.target else []))
    )


class KnownLabels(Struct, frozen=True):
    """The labelled rows of some clients, sorted by the hash of the name, then in file order.

    A labelled row newer than the score of a client is the outcome. The hashes of the rows
    distinguish it from older rows.
    """

    name_hashes: NameHashes
    names: "pd.Series[str]"
    row_hashes: NDArray[np.uint32]
    labels: NDArray[np.int8]

    def between(self, first: int, last: int) -> "KnownLabels":
        """Return the rows of names with a hash from a first to a last one."""
        start = int(np.searchsorted(self.name_hashes, np.uint32(first)))
        stop = int(np.searchsorted(self.name_hashes, np.uint32(last), side="right"))
        rows = slice(start, stop)
        return KnownLabels(
            self.name_hashes[rows], self.names.iloc[rows], self.row_hashes[rows], self.labels[rows]
        )


def sort_labels(parts: Iterable[KnownLabels]) -> KnownLabels:
    """Return the labelled rows of several parts, in the order of the parts for each name."""
    parts = list(parts)
    name_hashes = np.concatenate([np.zeros(0, np.uint32), *(part.name_hashes for part in parts)])
    names = pd.concat([pd.Series([], dtype="str"), *(part.names for part in parts)])
    row_hashes = np.concatenate([np.zeros(0, np.uint32), *(part.row_hashes for part in parts)])
    labels = np.concatenate([np.zeros(0, np.int8), *(part.labels for part in parts)])
    order = np.argsort(name_hashes, kind="stable")
    return KnownLabels(name_hashes[order], names.iloc[order], row_hashes[order], labels[order])


def collect_labels(
    tables: Iterable[pd.DataFrame], schema: Schema, wanted: NameFilter
) -> KnownLabels:
    """Collect the labels of the wanted clients from labelled tables."""
    parts = []
    for table in tables:
        names = client_names(table, schema)
        hashes = hash_names(names.tolist())
        is_wanted = wanted.matches(hashes)
        rows = table[is_wanted]
        if len(rows):
            row_hashes = deduplicate.hash_rows(rows, schema)
            labels = target(rows, schema).astype(np.int8)
            parts.append(KnownLabels(hashes[is_wanted], names[is_wanted], row_hashes, labels))
    return sort_labels(parts)
