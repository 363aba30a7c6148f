"""Finds out which columns of client tables are numbers, which are categories, which say nothing."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pandas as pd

from scripts import cells, dataset, findings, reading
from scripts.config import NumberMarks, Schema, check_schema, spell_label
from scripts.errors import DatasetError
from scripts.findings import FileReading

MIN_NUMBERS_FRACTION = 0.99
MAX_SHOWN_LABELS = 5
UNIQUE = "it has as many values as rows"
# What a pinned schema may differ in from what config.json declares: how files are written is found
# out file by file.
FREE_KEYS = {"separator", "encoding"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inference:
    """The completed schema, and the columns that are not used, with the reason."""

    schema: Schema
    set_aside: dict[str, str] = field(default_factory=dict)


def common_columns(tables: Sequence[pd.DataFrame]) -> list[str]:
    """List the columns that more than half of the rows have, in the order of their first file."""
    n_rows = sum(map(len, tables))
    names = list(dict.fromkeys(name for table in tables for name in table.columns))
    return [n for n in names if 2 * sum(len(t) for t in tables if n in t.columns) > n_rows]


def read_as_text(
    paths: Sequence[Path], schema: Schema
) -> tuple[pd.DataFrame, list[FileReading], list[str]]:
    """Read files into one table of text, without duplicate rows.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        The columns that must be there.

    Returns
    -------
    tuple of pandas.DataFrame of shape (n_rows, n_columns), list of FileReading, list of str
        The rows of the files that have every column that most rows have; what was found in the
        files; the columns that only some files have.

    Raises
    ------
    DatasetError
        If no row is usable.
    """
    readings, tables = [], []
    for path in paths:
        found, columns = reading.read_file(path, path.parent, schema, as_text=True)
        readings.append(found)
        if columns[schema.target]:
            tables.append(pd.DataFrame(columns, dtype="str"))
    if not tables:
        raise DatasetError(f"No usable row was found. {findings.spell_complaints(readings)}")
    common = common_columns(tables)
    whole = [table[common] for table in tables if set(common) <= set(table.columns)]
    rare = sorted({name for table in tables for name in table.columns} - set(common))
    return pd.concat(whole, ignore_index=True).drop_duplicates(), readings, rare


def is_numeric(column: pd.Series, marks: NumberMarks) -> bool:
    """Say whether at least 99 % of the cells that are not blank are numbers."""
    counts = column[column != ""].value_counts()
    n_numbers = sum(count for text, count in counts.items() if cells.is_number(str(text), marks))
    return bool(n_numbers >= MIN_NUMBERS_FRACTION * counts.sum() > 0)


def is_measure(column: pd.Series, marks: NumberMarks) -> bool:
    """Say whether a numeric column has fractions, as measures have and identifiers do not."""
    numbers = (cells.parse_number(t, None, marks) for t in column if cells.is_number(t, marks))
    return any(not number.is_integer() for number in numbers)


def reason_to_set_aside(column: pd.Series, *, numeric: bool, marks: NumberMarks) -> str:
    """Say why a column, given as text, cannot help a model; "" if it may."""
    counts = column.value_counts()
    if len(counts) == 1:
        return "it is blank in every row" if counts.index[0] == "" else "it has one value"
    if len(counts) == len(column) and not (numeric and is_measure(column, marks)):
        return UNIQUE
    if not numeric and counts.iloc[0] < dataset.RARE_FRACTION * len(column):
        return f"each of its values is in fewer than {dataset.RARE_FRACTION:.1%} of the rows"
    return ""


def infer_columns(table: pd.DataFrame, declared: Schema) -> Inference:
    """Sort the columns that are not declared into numbers, categories and those set aside."""
    named = {*declared.columns, *declared.ignore}
    found: dict[str, list[str]] = {"numeric": [], "categorical": []}
    set_aside: dict[str, str] = {}
    for name in [name for name in table.columns if name not in named]:
        marks = declared.marks(name)
        numeric = is_numeric(table[name], marks)
        kind = "numeric" if numeric else "categorical"
        reason = reason_to_set_aside(table[name], numeric=numeric, marks=marks)
        if not name:
            set_aside[name] = "it has no name"
        elif reason:
            set_aside[name] = reason
        elif kind not in declared.inferred:
            set_aside[name] = f"it is {kind}, and schema.{kind} does not list it"
        else:
            found[kind].append(name)
    completed = {kind: tuple(found[kind]) for kind in found if kind in declared.inferred}
    return Inference(msgspec.structs.replace(declared, **completed), set_aside)


def infer_negative(target: pd.Series, declared: Schema) -> str:
    """Find the label of clients who stayed: the one other than the declared one."""
    positive = spell_label(declared.positive)
    labels = sorted({spell_label(label) for label in target} - {""})
    others = [label for label in labels if label != positive]
    if positive in labels and len(others) == 1:
        return others[0]
    shown = ", ".join(map(cells.shorten, labels[:MAX_SHOWN_LABELS]))
    raise DatasetError(
        f"The target {declared.target!r} has {len(labels)} labels, among them {shown}; expected"
        f" {cells.shorten(positive)}, which is schema.positive, and one other. Set"
        " schema.positive, and schema.negative to the label of clients who stayed."
    )


def infer(paths: Sequence[Path], declared: Schema) -> Inference:
    """Complete a declared schema by looking at files.

    Parameters
    ----------
    paths : sequence of Path
        CSV files of clients.
    declared : Schema
        `inferred` names what is to be found out: "numeric", "categorical", "negative".

    Returns
    -------
    Inference
        Numeric are the columns of which at least 99 % of the cells that are not blank are
        numbers, categorical the others. A column is set aside if it has one value, as many
        values as rows (unless they are numbers with fractions), or only rare categories.

    Raises
    ------
    DatasetError
        If no row is usable, no column is left, or the target has not two labels.
    ConfigError
        If the declared part does not fit the columns, as a percent sign in a category.

    Notes
    -----
    README, section "Any client table".
    """
    table, readings, rare = read_as_text(paths, declared)
    inference = infer_columns(table, declared)
    schema = inference.schema
    if "negative" in declared.inferred:
        negative = infer_negative(table[declared.target], declared)
        schema = msgspec.structs.replace(schema, negative=negative)
    if not schema.features:
        raise DatasetError(
            f"No column is left to train on: {inference.set_aside}."
            f" {findings.spell_complaints(readings)}"
        )
    check_schema(schema, "The inferred schema")
    partly = dict.fromkeys(rare, "only files with fewer than half of the rows have it")
    return Inference(schema, inference.set_aside | partly)


def is_pinned(declared: Schema, pinned: Schema) -> bool:
    """Say whether a schema is what this declaration was completed to, some time ago."""
    free = FREE_KEYS | set(declared.inferred)
    keys = [key for key in Schema.__struct_fields__ if key not in free]
    return all(getattr(declared, key) == getattr(pinned, key) for key in keys)


def complete(declared: Schema, pinned: Schema | None, paths: Sequence[Path]) -> Schema:
    """Give the schema to read files by: declared, pinned by the model in production, or inferred.

    Parameters
    ----------
    declared : Schema
        What config.json says.
    pinned : Schema or None
        That of the model in production.
    paths : sequence of Path
        The files to look at if it must be inferred.

    Returns
    -------
    Schema
        Complete. What is inferred is logged, with a warning for each column set aside.
    """
    if not declared.inferred:
        return declared
    if pinned is not None and is_pinned(declared, pinned):
        free = {key: getattr(declared, key) for key in FREE_KEYS}
        return msgspec.structs.replace(pinned, **free)
    inference = infer(paths, declared)
    for name, reason in inference.set_aside.items():
        log.warning(
            "Set the column %r aside: %s. List it in schema.numeric or schema.categorical to use"
            " it, or in schema.ids or schema.ignore to end this warning.", name, reason,
        )  # fmt: skip
    schema = inference.schema
    log.info(
        "Inferred the schema: numeric %s; categorical %s; clients who stayed are %r.",
        list(schema.numeric), list(schema.categorical),
        next(label for label, meaning in schema.labels.items() if not meaning),
    )  # fmt: skip
    return schema
