"""Proposes a `schema` section for a folder of client tables that nobody has described yet."""

import csv
import io
import logging
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split

from scripts import cells, durable, inbox, inference, reading
from scripts.config import KNOWN_OPPOSITES, OPPOSITES, Schema, spell_label
from scripts.console import keep_private, run_guarded, set_up_logging
from scripts.errors import DatasetError
from scripts.findings import FileReading

TARGET_NAME = re.compile(r"churn|exit|attrit|left|leave|cancel|quit|lapse|target|label", re.I)
LEFT_WORD = re.compile(r"churn|exit|attrit|left|leav|cancel|quit|lapse|lost|closed|gone", re.I)
ID_NAME = re.compile(r"(^|[^a-z])ids?$|[a-z]I[dD]$|phone|e-?mail|name$|^customer$|^account$")
# A column that alone tells who left this well knows something that came after the leaving.
LEAK_ACCURACY = 0.95
MIN_ID_FRACTION = 0.5
# One category more would hardly be one; and so many tell nothing when taken one by one.
MAX_CATEGORIES = 50

Flags = NDArray[np.bool_]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Suggestion:
    """A schema section, and what was noticed on the way to it."""

    section: dict[str, Any]
    notices: tuple[str, ...]


def find_separator(paths: list[Path]) -> tuple[str, str]:
    """Give the separator to declare and the first column of the first file with a header."""
    for path in paths:
        with path.open("rb") as handle:
            line = next(reading.iterate_lines(handle, FileReading(path)), (0, ""))[1]
        splits = reading.try_separators(line, reading.AUTO) if line.strip() else {"": [""]}
        widest = max(splits, key=lambda mark: len(splits[mark]))
        if len(splits[widest]) > 1:
            several = sum(len(names) > 1 for names in splits.values()) > 1
            return (widest if several else reading.AUTO), splits[widest][0]
    raise DatasetError(f"{paths[0].parent if paths else 'The folder'} has no CSV with a header.")


def labels_of(column: pd.Series) -> list[str]:
    """List the labels of a column, as they are compared."""
    return sorted({spell_label(text) for text in column.unique()} - {""})


def guess_target(table: pd.DataFrame) -> str:
    """Guess the target: a column of two labels, by its name, its labels, then its place."""
    two = [name for name in table.columns if len(labels_of(table[name])) == 2]
    if not two:
        raise DatasetError("No column has two values, as a target must; name it with --target.")

    def rank(name: str) -> tuple[bool, bool, int]:
        known = set(labels_of(table[name])) & set(KNOWN_OPPOSITES)
        return bool(TARGET_NAME.search(name)), bool(known), list(table.columns).index(name)

    return max(two, key=rank)


def guess_positive(column: pd.Series) -> str:
    """Guess the label of clients who left: a known word for yes, one like "churned", the rarer."""
    labels = labels_of(column)
    counts = column.map(spell_label).value_counts()
    return max(
        labels,
        key=lambda label: (label in OPPOSITES, bool(LEFT_WORD.search(label)), -counts[label]),
    )


def predict_alone(column: pd.Series, left: Flags, *, numeric: bool) -> float:
    """Say how well a column alone tells who left: accuracy with both labels weighing the same."""
    blank = (column == "").to_numpy()
    best = float(balanced_accuracy_score(left, blank)) if blank.any() else 0.5
    best = max(best, 1 - best)
    if numeric:
        numbers = pd.to_numeric(column, errors="coerce").fillna(0.0)
        area = float(roc_auc_score(left, numbers))
        return max(best, area, 1 - area)
    if column.nunique() > MAX_CATEGORIES:
        return best
    shares = pd.Series(left, index=column.index).groupby(column).transform("mean")
    return max(best, float(balanced_accuracy_score(left, shares > left.mean())))


def find_leaks(table: pd.DataFrame, schema: Schema, left: Flags) -> list[str]:
    """List the features that alone tell almost perfectly who left."""
    return [
        name
        for name in schema.features
        if predict_alone(table[name], left, numeric=name in schema.numeric) >= LEAK_ACCURACY
    ]


def find_ids(table: pd.DataFrame, found: inference.Inference) -> list[str]:
    """List the columns that tell clients apart, though not each of them stands in one row only."""

    def is_id(name: str) -> bool:
        if found.set_aside.get(name) == inference.UNIQUE:
            return True
        # A text that hardly repeats is a name, whatever its column is called; a number may well be
        # a measure.
        is_text = name in found.set_aside or name in found.schema.categorical
        is_number = name in found.schema.numeric
        if not (is_text or (is_number and ID_NAME.search(name))):
            return False
        return table[name].nunique() > MIN_ID_FRACTION * len(table)

    return [name for name in table.columns if name and is_id(name)]


def describe_target(column: pd.Series, name: str) -> tuple[dict[str, str], str]:
    """Give the keys of the labels of a target, and say what was guessed.

    Only of two labels that are not known as opposites need both be declared.
    """
    positive = guess_positive(column)
    spellings = column.unique().tolist()
    keys = {"positive": next(text for text in spellings if spell_label(text) == positive)}
    if positive not in KNOWN_OPPOSITES:
        others = [label for label in labels_of(column) if label != positive]
        keys["negative"] = column.map(spell_label).value_counts()[others].idxmax()
    notice = (
        f"Likely target: {name!r}, spelled {', '.join(map(cells.shorten, spellings[:6]))};"
        f" {positive!r} is taken for the label of clients who left."
    )
    return keys, notice


def sort_out(
    table: pd.DataFrame, found: inference.Inference, left: Flags
) -> tuple[dict[str, list[str]], list[str]]:
    """List the identifiers and what is to be ignored, and say why and what is left to train on."""
    ids = find_ids(table, found)
    leaks = [name for name in find_leaks(table, found.schema, left) if name not in ids]
    aside = {name: why for name, why in found.set_aside.items() if name and name not in ids}
    kept = [name for name in found.schema.features if name not in (*ids, *leaks)]
    n_numeric = sum(name in found.schema.numeric for name in kept)
    notices = [
        *(f"Likely identifier: {name!r}." for name in ids),
        *(
            f"Likely leak: {name!r} alone tells almost perfectly who left; it is ignored. Take it"
            " off the list if it is known before a client leaves."
            for name in leaks
        ),
        *(f"Ignored: {name!r}: {why}." for name, why in aside.items()),
        f"Features: {n_numeric} numeric and {len(kept) - n_numeric} categorical.",
    ]
    return {"ids": ids, "ignore": [*leaks, *aside]}, notices


def describe_files(readings: list[FileReading]) -> list[str]:
    """Say how the files are written, and what of them could not be read."""
    kinds = sorted({(r.separator, r.encoding) for r in readings if not r.refused})
    written = [f"Separator {mark!r}, encoding {encoding}." for mark, encoding in kinds]
    refused = [f"{r.path.name} cannot be read: {r.refused}." for r in readings if r.refused]
    return written + refused


def suggest(paths: list[Path], target: str | None = None) -> Suggestion:
    """Propose a schema section for files, and say why.

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
    blank = Schema(target=target or first, ids=(), numeric=(), separator=mark)
    table, readings, _ = inference.read_as_text(paths, blank)
    target = target or guess_target(table)
    labels, about_target = describe_target(table[target], target)
    declared = msgspec.structs.replace(blank, target=target, inferred=("numeric", "categorical"))
    found = inference.infer_columns(table, declared)
    left = (table[target].map(spell_label) == spell_label(labels["positive"])).to_numpy()
    lists, about_columns = sort_out(table, found, left)
    marks = {} if separator == reading.AUTO else {"separator": separator}
    return Suggestion(
        {"target": target, **labels, **marks, **lists},
        (*describe_files(readings), about_target, *about_columns),
    )


def spell_rows(table: pd.DataFrame, separator: str) -> str:
    """Spell a table of text as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.itertuples(index=False))
    return buffer.getvalue()


def split_off(
    paths: list[Path], section: dict[str, Any], *, fraction: float, seed: int
) -> tuple[Path, Path]:
    """Write the rows of files into `traindata` and `testdata` beside their folder.

    The share of clients who left is the same in both, and no row is in both.
    """
    schema = Schema(
        target=section["target"], ids=(), numeric=(),
        separator=section.get("separator", reading.AUTO),
    )  # fmt: skip
    table, _, _ = inference.read_as_text(paths, schema)
    labels = table[schema.target].map(spell_label)
    table = table[labels != ""]
    train, test = train_test_split(
        table, test_size=fraction, random_state=seed, stratify=labels[labels != ""]
    )
    beside = paths[0].parent.parent
    # The proposed section is to read them, too; a comma needs no declaration.
    separator = "," if schema.separator == reading.AUTO else schema.separator
    places = beside / "traindata" / "traindata.csv", beside / "testdata" / "testdata.csv"
    for place in places:
        if place.exists():
            raise DatasetError(f"{place} is there already; move it away, or split elsewhere.")
    for place, rows in zip(places, (train, test), strict=True):
        durable.write_whole(place, spell_rows(rows, separator))
        log.info("Wrote %d rows to %s.", len(rows), place)
    return places


@click.group()
def command() -> None:
    """Help with config.json."""


@command.command("suggest")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--target", help="The column that says who left, if you know it, such as Churn.")
@click.option(
    "--split", type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Also write this share of the rows, such as 0.2, into testdata beside FOLDER, and the"
    " others into traindata.",
)  # fmt: skip
@click.option("--seed", default=42, show_default=True, help="Of the split.")
def suggest_command(folder: Path, target: str | None, split: float | None, seed: int) -> None:
    """Print a `schema` section for the CSV files of FOLDER, and what was noticed."""

    def work() -> None:
        paths = inbox.list_tables(folder)
        found = suggest(paths, target)
        for notice in found.notices:
            log.info("%s", notice)
        spelled = msgspec.json.format(msgspec.json.encode({"schema": found.section})).decode()
        click.echo(spelled)
        if split is not None:
            train, test = split_off(paths, found.section, fraction=split, seed=seed)
            log.info(
                "Set input_folder_path to %s and test_data_path to %s.", train.parent, test.parent
            )
        else:
            log.info("--split 0.2 --seed 42 would split off a test table.")

    keep_private()
    set_up_logging()
    sys.exit(run_guarded(work))
