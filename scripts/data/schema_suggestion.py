"""Suggestion of the `schema` section of config.json for a folder of client tables."""

import csv
import io
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split

from scripts.core import files
from scripts.core.config import NumberMarks, Schema, normalise_label
from scripts.core.errors import DatasetError
from scripts.data import cells, csv_reader, read_report, schema_inference, target_suggestion
from scripts.data.read_report import FileReading

ID_NAME = re.compile(
    r"(^|[^a-z])ids?$|[a-z]I[dD]$|phone|e-?mail|name$|^customer$|^account$|"
    r"(^|[^A-Za-z])(?i:no|nr|row|index|idx)$|[a-z](No|Nr|Row|Index|Idx)$|(?i:number)$"
)
AMOUNT_NAME = re.compile(
    r"salary|income|amount|balance|price|revenue|charge|cost|limit|sales|spend|total|sum\b|minutes|"
    r"seconds|usage|value",
    re.I,
)
# A column that alone predicts the target this well was written after the clients left.
LEAK_ACCURACY = 0.95
# Few honest columns reach this; the score of another model does, which may be a leak.
POSSIBLE_LEAK_ACCURACY = 0.9
MIN_ID_FRACTION = 0.5
# A few repeated rows must not turn a numbering of clients into a feature.
MIN_NUMBERING_FRACTION = 0.99
# How numbers may be written, the likeliest first; the first of equals is taken.
MARKS = (
    NumberMarks(),
    NumberMarks(thousands=","),
    NumberMarks(decimal=","),
    NumberMarks(decimal=",", thousands="."),
    NumberMarks(decimal=",", thousands=" "),
    NumberMarks(thousands=" "),
    NumberMarks(thousands="'"),
)
PLAIN_MARKS = MARKS[0]
# This number of values shows the number format of a column.
N_SAMPLED = 1000
# A second header has values in most columns that no row has.
MIN_DESCRIBED_FRACTION = 0.8
MIN_DESCRIBED = 2
# A column with more values is hardly categorical, and single values then predict nothing.
MAX_CATEGORIES = 50

Flags = NDArray[np.bool_]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Suggestion:
    """A suggested schema section, and notices about the columns."""

    section: dict[str, Any]
    notices: tuple[str, ...]


def find_separator(paths: list[Path]) -> tuple[str, str]:
    """Return the separator to declare and the first column name of the first file with a header."""
    for path in paths:
        with path.open("rb") as handle:
            line = next(csv_reader.iterate_lines(handle, FileReading(path)), (0, ""))[1]
        if line.startswith(csv_reader.CONFLICT):
            continue
        splits = csv_reader.try_separators(line, csv_reader.AUTO) if line.strip() else {"": [""]}
        widest = max(splits, key=lambda mark: len(splits[mark]))
        if len(splits[widest]) > 1:
            several = sum(len(names) > 1 for names in splits.values()) > 1
            named = next(filter(None, splits[widest]), "")
            return (widest if several else csv_reader.AUTO), named
    if not paths:
        raise DatasetError("No CSV file was given.")
    # The reason is in the report; if the file is readable, the first line is no header.
    reading, _ = csv_reader.read_file(paths[0], paths[0].parent, Schema(), as_text=True)
    reason = read_report.first_reasons(reading)[0]
    raise DatasetError(f"{paths[0].parent} has no CSV with a header. {paths[0].name}: {reason}.")


def find_description(table: pd.DataFrame) -> list[str]:
    """List the columns described by the first row, if the first row is a second header.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows, as text.

    Returns
    -------
    list of str
        The columns whose first row is the only text among numbers, or a category of no other row.
        Empty if these are too few of the comparable columns.
    """
    rest, described, n_comparable, n_numbers = table.iloc[1:], list[str](), 0, 0
    for name in table.columns if len(rest) else ():
        first, values = table[name].iloc[0], rest[name].unique()
        filled = [text for text in values[:N_SAMPLED] if text]
        is_number = bool(filled) and all(
            any(cells.is_number(text, marks) for marks in MARKS) for text in filled
        )
        if not first or not (is_number or len(filled) <= MAX_CATEGORIES):
            continue
        n_comparable += 1
        if first not in set(values) and not any(cells.is_number(first, m) for m in MARKS):
            described.append(name)
            n_numbers += is_number
    is_enough = len(described) >= MIN_DESCRIBED_FRACTION * n_comparable
    return described if is_enough and (n_numbers or len(described) > MIN_DESCRIBED) else []


def find_marks(table: pd.DataFrame) -> NumberMarks:
    """Return the number marks that make the most columns of a table numeric."""
    samples = []
    for name in table.columns:
        values = [text for text in table[name].unique()[: N_SAMPLED + 1] if text]
        if any(character in text for text in values for character in ",.' "):
            samples.append(values)

    def count_numeric(marks: NumberMarks) -> int:
        return sum(
            schema_inference.is_numeric(
                sum(cells.is_number(text, marks) for text in values), len(values)
            )
            for values in samples
        )

    return max(MARKS, key=count_numeric)


def read_numbers(column: pd.Series, marks: NumberMarks) -> pd.Series:
    """Return the numbers of a column, with 0 for every other text."""
    numbers = {
        text: cells.parse_number(text, None, marks)
        for text in column.unique()
        if cells.is_number(text, marks)
    }
    return column.map(numbers).astype("float64").fillna(0.0)


def predict_alone(column: pd.Series, left: Flags, marks: NumberMarks | None) -> float:
    """Return the balanced accuracy of a prediction by a single column, for numbers the ROC AUC."""
    is_empty = (column == "").to_numpy()
    best = float(balanced_accuracy_score(left, is_empty)) if is_empty.any() else 0.5
    best = max(best, 1 - best)
    if marks is not None:
        area = float(roc_auc_score(left, read_numbers(column, marks)))
        return max(best, area, 1 - area)
    if column.nunique() > MAX_CATEGORIES:
        return best
    shares = pd.Series(left, index=column.index).groupby(column).transform("mean")
    return max(best, float(balanced_accuracy_score(left, shares > left.mean())))


def measure_columns(table: pd.DataFrame, schema: Schema, left: Flags) -> dict[str, float]:
    """Return the accuracy of a prediction by each feature alone."""
    marks = {name: schema.marks(name) for name in schema.numeric}
    return {name: predict_alone(table[name], left, marks.get(name)) for name in schema.features}


def is_id(column: pd.Series, name: str, inference: schema_inference.Inference) -> bool:
    """Return whether a column identifies clients, even if a few clients have several rows."""
    if inference.set_aside.get(name) == schema_inference.UNIQUE:
        return True
    n_values = column.nunique()
    if name in inference.set_aside or name in inference.schema.categorical:
        # A text that hardly repeats is a name, whatever its column is called.
        return n_values > MIN_ID_FRACTION * len(column)
    if name not in inference.schema.numeric or schema_inference.is_measure(
        column.unique(), inference.schema.marks(name)
    ):
        return False
    # A whole number may well be a measure.
    if ID_NAME.search(name):
        return n_values > MIN_ID_FRACTION * len(column)
    return n_values > MIN_NUMBERING_FRACTION * len(column) and not AMOUNT_NAME.search(name)


def choose_ids(table: pd.DataFrame, names: list[str]) -> tuple[list[str], list[str]]:
    """Choose the identifiers without empty cells, since a row without identifier is rejected.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows, as text.
    names : list of str
        The columns that identify clients.

    Returns
    -------
    tuple of list of str and list of str
        The identifiers, and a notice about each column. If every column has empty cells, the
        fullest is chosen.
    """
    n_empty = {name: int((table[name] == "").sum()) for name in names}
    chosen = [name for name in names if not n_empty[name]]
    chosen = chosen or sorted(names, key=n_empty.__getitem__)[:1]
    return chosen, [
        f"Likely identifier: {name!r}."
        + (
            f" It is blank in {n_empty[name]} rows, which will be rejected."
            if n_empty[name]
            else ""
        )
        if name in chosen
        else f"Ignored: {name!r}: it is likely an identifier, but blank in {n_empty[name]} rows,"
        " which would be rejected for it."
        for name in names
    ]


def select_columns(
    everyone: pd.DataFrame, declared: Schema
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the identifiers and the columns to ignore, with notices about them."""
    labels = everyone[declared.target].map(normalise_label)
    # The outcome of the other clients is not known.
    table = everyone[labels.isin(declared.labels)]
    left = (labels[table.index].map(declared.labels) == 1).to_numpy()
    inference = schema_inference.infer_columns(table, declared)
    names = [name for name in table.columns if name and is_id(table[name], name, inference)]
    ids, about_ids = choose_ids(everyone, names)
    alone = measure_columns(table, inference.schema, left)
    features = [name for name in inference.schema.features if name not in names]
    leaks = [name for name in features if alone[name] >= LEAK_ACCURACY]
    kept = [name for name in features if name not in leaks]
    aside = {name: why for name, why in inference.set_aside.items() if name and name not in names}
    n_numeric = sum(name in inference.schema.numeric for name in kept)
    notices = [
        *about_ids,
        *(
            f"Likely leak: {name!r} alone tells almost perfectly who left; it is ignored. Take it"
            " off the list if it is known before a client leaves."
            for name in leaks
        ),
        *(
            f"Possible leak: {name!r} alone tells who left with {alone[name]:.2f} of 1, as the"
            " score of another model would; it is kept. Add it to ignore unless it is known before"
            " a client leaves."
            for name in kept
            if alone[name] >= POSSIBLE_LEAK_ACCURACY
        ),
        *(f"Ignored: {name!r}: {why}." for name, why in aside.items()),
        f"Features: {n_numeric} numeric and {len(kept) - n_numeric} categorical.",
    ]
    unused = [name for name in names if name not in ids]
    return {"ids": ids, "ignore": [*unused, *leaks, *aside]}, notices


def describe_files(readings: list[FileReading]) -> list[str]:
    """Return sentences about the formats of the files and about unreadable files."""
    kinds = sorted({(r.separator, r.encoding) for r in readings if not r.refused})
    written = [f"Separator {mark!r}, encoding {encoding}." for mark, encoding in kinds]
    refused = [f"{r.path.name} cannot be read: {r.refused}." for r in readings if r.refused]
    return written + refused


def describe_second_header(described: list[str]) -> list[str]:
    """Return a sentence about a second header, if there is a description of columns."""
    if not described:
        return []
    return [
        f"The second line describes the columns, such as {cells.shorten(described[0])}: take it out"
        " of the file. It is left out here, and ingestion will reject it."
    ]


def describe_marks(marks: NumberMarks) -> tuple[dict[str, Any], list[str]]:
    """Return the config keys of unusual number marks, with a sentence about them."""
    declared = {key: getattr(marks, key) for key in ("decimal", "thousands")}
    keys = {key: mark for key, mark in declared.items() if mark != getattr(PLAIN_MARKS, key)}
    shown = " and ".join(f"{key} {mark!r}" for key, mark in keys.items())
    return keys, [f"Numbers are written with {shown}."] if keys else []


def suggest(paths: list[Path], target: str | None = None) -> Suggestion:
    """Suggest a schema section for files, with the reasons.

    Parameters
    ----------
    paths : list of Path
        CSV files of clients.
    target : str, optional
        The target, if it is known.

    Returns
    -------
    Suggestion
        `section` is ready for config.json.

    Raises
    ------
    DatasetError
        If no file can be read, or no column may be a target.
    """
    separator, first = find_separator(paths)
    # One of the marks that a config may name.
    mark = cast("Any", separator)
    minimal = Schema(target=target or first, ids=(), numeric=(), separator=mark)
    table, readings, _ = schema_inference.read_as_text(paths, minimal)
    described = find_description(table)
    if described:
        table = table.iloc[1:]
    target = target or target_suggestion.guess_target(table)
    labels, about_target = target_suggestion.describe_target(table[target], target)
    marks, about_marks = describe_marks(find_marks(table))
    declared = msgspec.structs.replace(
        minimal, target=target, inferred=("numeric", "categorical"), **labels, **marks
    )
    lists, about_columns = select_columns(table, declared)
    separators = {} if separator == csv_reader.AUTO else {"separator": separator}
    return Suggestion(
        {"target": target, **labels, **separators, **marks, **lists},
        (*describe_files(readings), *describe_second_header(described), *about_target,
         *about_marks, *about_columns),
    )  # fmt: skip


def format_rows(table: pd.DataFrame, separator: str) -> str:
    """Format a table of text as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.itertuples(index=False))
    return buffer.getvalue()


def draw_test_rows(
    labels: pd.Series, meaning: dict[str, int], *, fraction: float, seed: int
) -> pd.Index:
    """Draw the rows of the test table, stratified by label.

    Raises
    ------
    DatasetError
        If there are too few clients who left, or stayed, for both tables.
    """
    labels = labels[labels.isin(meaning)]
    try:
        _, test = train_test_split(
            labels.index, test_size=fraction, random_state=seed, stratify=labels
        )
    except ValueError as error:
        counts = ", ".join(f"{count} {label!r}" for label, count in labels.value_counts().items())
        raise DatasetError(
            f"The rows cannot be split: {counts or 'no row has a label'}; each label needs rows for"
            f" both tables. Give more rows, or another share than {fraction:g}."
        ) from error
    drawn: pd.Index = test
    return drawn


def split_off(
    paths: list[Path], section: dict[str, Any], *, fraction: float, seed: int
) -> tuple[Path, Path]:
    """Write the rows of files into `traindata` and `testdata` beside their folder.

    The split is stratified by label, no row is in both files, and the order is kept. Rows without
    a label, today's clients, go to `traindata`. Rows left out are logged.
    """
    keys = ("target", "positive", "negative", "separator")
    schema = Schema(ids=(), numeric=(), **{key: section[key] for key in keys if key in section})
    table, readings, _ = schema_inference.read_as_text(paths, schema)
    read_report.log_readings(readings)
    n_read = sum(r.n_rows - len(r.rejected) for r in readings if not r.refused)
    if n_read > len(table):
        log.warning("Left out %d rows that are equal to others.", n_read - len(table))
    labels = table[schema.target].map(normalise_label)
    test = draw_test_rows(labels, schema.labels, fraction=fraction, seed=seed)
    is_client, is_labelled = labels == "", labels.isin(schema.labels)
    n_other = len(table) - int(is_client.sum()) - int(is_labelled.sum())
    if n_other:
        log.warning("Left out %d rows whose label is neither of %s.", n_other, list(schema.labels))
    train = table.index[is_client | is_labelled].difference(test)
    beside = paths[0].parent.parent
    # The proposed section is to read them, too; a comma needs no declaration.
    separator = "," if schema.separator == csv_reader.AUTO else schema.separator
    places = beside / "traindata" / "traindata.csv", beside / "testdata" / "testdata.csv"
    for place in places:
        if place.exists():
            raise DatasetError(f"{place} is there already; move it away, or split elsewhere.")
    for place, rows in zip(places, (train, test.sort_values()), strict=True):
        files.write_whole(place, format_rows(table.loc[rows], separator))
        log.info("Wrote %d rows to %s.", len(rows), place)
    if is_client.any():
        log.info("%d rows of %s have no label: today's clients.", int(is_client.sum()), places[0])
    return places
