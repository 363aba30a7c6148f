"""What a client table is: reading it from files, X and y, its statistics."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from scripts.core import files
from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.data import csv_blocks, csv_reader, deduplicate, read_report
from scripts.data.cells import MISSING_CATEGORY, UNLABELLED, name_client
from scripts.data.csv_reader import RefusedFileError
from scripts.data.profile import ColumnSummary
from scripts.data.read_report import FileReading

# A category that fewer of the rows have is too rare to learn from alone.
RARE_FRACTION = 0.005
# From so many bytes on (some thousand rows), reading in blocks pays for what it has to import.
MANY_BYTES = 2**16
PART_ROWS = 2**16


def as_integers(column: pd.Series) -> pd.Series:
    """Turn a float column that holds only whole numbers and no blank into integers."""
    values = column.to_numpy()
    # A blank, NaN, equals nothing; in parts, so that a large column needs little besides.
    parts = (values[start : start + PART_ROWS] for start in range(0, len(values), PART_ROWS))
    whole = len(values) > 0 and all((part == np.floor(part)).all() for part in parts)
    return column.astype(np.int64) if whole else column


def make_column(name: str, values: Any, schema: Schema) -> pd.Series:
    """Make a column of a client table: identifiers and categories text, the target 0 or 1."""
    if name not in schema.numeric:
        return pd.Series(values, dtype=np.int64 if name == schema.target else "str")
    numbers = pd.Series(np.asarray(values), copy=False)
    # Whole already, if so found block by block; a list of numbers is one of floats.
    return numbers if numbers.dtype == np.int64 else as_integers(numbers.astype(np.float64))


def make_table(columns: Mapping[str, Any], schema: Schema) -> pd.DataFrame:
    """Make a client table of columns."""
    return pd.DataFrame({name: make_column(name, columns[name], schema) for name in schema.columns})


def read_few(
    paths: Sequence[Path], schema: Schema, *, needs_label: bool = True
) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read small files row by row."""
    readings: list[FileReading] = []
    gathered: dict[str, list[Any]] = {name: [] for name in schema.columns}
    for path in paths:
        found, columns = csv_reader.read_file(path, path.parent, schema, needs_label=needs_label)
        readings.append(found)
        for name, values in columns.items():
            gathered[name].extend(values)
    return make_table(gathered, schema), readings


def read_many(
    paths: Sequence[Path], schema: Schema, *, needs_label: bool = True
) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read large files a block at a time, with the same result."""
    readings, parts = [], []
    for path in paths:
        found, tables = csv_blocks.read_file(path, path.parent, schema, needs_label=needs_label)
        readings.append(found)
        parts += tables
    table = pd.DataFrame(
        {
            name: make_column(name, csv_blocks.take_column(parts, name), schema)
            for name in schema.columns
        },
        copy=False,
    )
    return table, readings


def read_files(
    paths: Sequence[Path], schema: Schema, *, needs_label: bool = True
) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read files in the way that suits their size."""
    n_bytes = files.total_bytes(paths)
    read = read_few if n_bytes < MANY_BYTES else read_many
    return read(paths, schema, needs_label=needs_label)


def read_tables(
    paths: Sequence[Path], schema: Schema, *, needs_label: bool = True
) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read files strictly, in the order given, into one table.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        The columns.
    needs_label : bool
        Reject rows whose target is blank; otherwise `split_unlabelled` takes them apart.

    Returns
    -------
    tuple of pandas.DataFrame of shape (n_rows, n_columns) and list of FileReading
        The rows that can be right, in file order, columns in the order of `schema.columns`; one
        reading per file, with what was rejected and why.

    Raises
    ------
    DatasetError
        If no row is usable.

    Notes
    -----
    README, section "Ingestion".
    """
    table, readings = read_files(paths, schema, needs_label=needs_label)
    if table.empty:
        raise DatasetError(f"No usable row was found. {read_report.format_complaints(readings)}")
    return table, readings


def split_unlabelled(table: pd.DataFrame, schema: Schema) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a table into the rows with a label and those without, each in their order.

    The latter are today's clients, whose outcome is not known yet. Whole numbers stay integers
    in the former, as if the latter had never been there.
    """
    is_unlabelled = table[schema.target] == UNLABELLED
    if not is_unlabelled.any():
        return table, table.iloc[:0]
    labelled = table[~is_unlabelled].reset_index(drop=True)
    for name in schema.numeric:
        labelled[name] = as_integers(labelled[name])
    return labelled, table[is_unlabelled].reset_index(drop=True)


def client_names(table: pd.DataFrame, schema: Schema) -> pd.Series:
    """Name the client of each row by its identifiers."""
    if len(schema.ids) == 1:
        return table[schema.ids[0]]
    rows = zip(*(table[name] for name in schema.ids), strict=True)
    return pd.Series([name_client(row) for row in rows], index=table.index, dtype="str")


def read_test_table(place: Path, schema: Schema) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read the labelled rows on which models are compared."""
    paths = files.list_tables(place)
    files.check_has_tables(paths, place)
    table, readings = read_tables(paths, schema)
    read_report.log_readings(readings)
    return table, readings


def check_ingested(found: FileReading) -> None:
    """Refuse a dataset of which anything was rejected."""
    if found.refused or found.rejected:
        reason = read_report.first_reasons(found)[0]
        raise DatasetError(
            f"{found.path} is not as ingestion wrote it: {reason}. Run ingestion again."
        )


def check_is_table(path: Path) -> None:
    """Refuse a dataset that is not one file."""
    if path.is_dir():
        raise DatasetError(
            f"{path} is a dataset of the Spark engine, in parts; this is done on the pandas engine"
            " only."
        )


def read_dataset(path: Path, schema: Schema) -> tuple[pd.DataFrame, str]:
    """Read a dataset that ingestion wrote, and its SHA-256.

    Raises
    ------
    DatasetError
        If anything in it is not as ingestion writes it.
    """
    check_is_table(path)
    table, (found,) = read_files([path], ingested_schema(schema))
    check_ingested(found)
    return table, found.sha256


def iterate_dataset(path: Path, schema: Schema) -> Iterator[pd.DataFrame]:
    """Read a dataset that ingestion wrote in parts, of which one at a time is in memory.

    Parameters
    ----------
    path : Path
        Its file.
    schema : Schema
        Its columns.

    Yields
    ------
    pandas.DataFrame of shape (n_rows, n_columns)
        Rows in their order; a column may be whole in one part and of fractions in the next.

    Raises
    ------
    DatasetError
        If anything in it is not as ingestion writes it, which may show late.
    """
    check_is_table(path)
    written = ingested_schema(schema)
    found = csv_reader.new_reading(path, written)
    try:
        with path.open("rb") as handle:
            for part in csv_blocks.read_parts(handle, written, found, needs_label=True):
                if isinstance(part, pa.Table) and part.num_rows:
                    columns = {
                        name: csv_blocks.take_column([part], name) for name in schema.columns
                    }
                    yield make_table(columns, schema)
    except RefusedFileError as error:
        csv_reader.refuse(found, error)
    check_ingested(found)


def ingested_schema(schema: Schema) -> Schema:
    """Give the schema of the dataset file, in which the target is always 1 or 0."""
    return Schema(
        target=schema.target,
        ids=schema.ids,
        numeric=schema.numeric,
        categorical=schema.categorical,
        minimum=schema.minimums,
        separator=",",
        encoding="utf-8",
    )


def encode_schema(schema: Schema) -> bytes:
    """Spell a schema as JSON; equal schemas give equal bytes."""
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=2) + b"\n"


def read_schema(path: Path, declared: Schema) -> Schema:
    """Read the schema that ingestion wrote beside a dataset.

    Datasets of earlier versions have none; theirs is the declared one, if that is complete.

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
    """Take the feature columns X of a table, shape (n_rows, n_features); blanks in text are "".

    Raises
    ------
    DatasetError
        If the table lacks one, as when a model was trained on another schema.
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
    """Take the target y of a table, shape (n_rows,): 1 left, 0 stayed."""
    return table[schema.target].to_numpy(dtype=np.int64)


def feature_arrays(table: pd.DataFrame, schema: Schema) -> dict[str, NDArray[Any]]:
    """Take the features as arrays by name, as `model.probabilities` wants them."""
    X = features(table, schema)
    return {name: X[name].to_numpy() for name in schema.features}


def missing_fractions(table: pd.DataFrame) -> dict[str, float]:
    """Compute the share of blank cells of each column, in [0, 1].

    Raises
    ------
    DatasetError
        If the table has no row.
    """
    if table.empty:
        raise DatasetError("The table has no row, so no share of blanks can be given.")
    blank = table.isna() | (table == "")
    return {str(name): float(share) for name, share in blank.mean().items()}


def finite_or_none(value: float) -> float | None:
    """Give a statistic, or None where it is not defined."""
    return float(value) if math.isfinite(value) else None


def summarise(table: pd.DataFrame, schema: Schema) -> tuple[ColumnSummary, ...]:
    """Compute mean, median and standard deviation of the numeric features, then of the target.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        A client table; blanks are left out of account.
    schema : Schema
        Its columns.

    Returns
    -------
    tuple of ColumnSummary
        In the unit of each column. The standard deviation has n - 1 in the denominator; it is
        None for fewer than two values, and all three are None for none.

    Notes
    -----
    pandas.Series.mean, .median and .std.
    """
    return tuple(
        ColumnSummary(
            column=name,
            mean=finite_or_none(table[name].mean()),
            median=finite_or_none(table[name].median()),
            standard_deviation=finite_or_none(table[name].std()),
        )
        for name in (*schema.numeric, *([schema.target] if schema.target else []))
    )


# The labels known of a client: the hash of each labelled row, and its label, in file order.
Labels = dict[int, int]


def collect_labels(
    tables: Iterable[pd.DataFrame], schema: Schema, wanted: set[str]
) -> dict[str, Labels]:
    """Collect the labels of the wanted clients off labelled tables, one after the other.

    A labelled row that came since a client was scored tells the outcome; the hashes tell it from
    those that were there before.
    """
    found: dict[str, Labels] = {}
    for table in tables:
        names = client_names(table, schema)
        is_wanted = names.isin(wanted)
        rows = table[is_wanted]
        hashes = deduplicate.hash_rows(rows, schema).tolist()
        labels = target(rows, schema).tolist()
        for name, row_hash, label in zip(names[is_wanted], hashes, labels, strict=True):
            found.setdefault(name, {})[row_hash] = label
    return found
