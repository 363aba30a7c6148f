"""Schema inference: numeric, categorical and useless columns of client tables."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import pandas as pd
from msgspec import Struct, field

from scripts.core.config import NumberMarks, Schema, normalise_label
from scripts.core.config_file import check_schema
from scripts.core.errors import DatasetError
from scripts.data import (
    cells,
    client_dates,
    column_kinds,
    csv_reader,
    dataset,
    read_report,
    table_reader,
)
from scripts.data.column_kinds import ColumnCounts, ColumnKind
from scripts.data.read_report import FileReading

MIN_NUMBERS_FRACTION = 0.99
MAX_SHOWN_LABELS = 5
# A column of remarks, whose sentences may be few or short, and are of single clients all the same.
NOTE_NAME = re.compile(
    r"(^|[^a-z])(notes?|memo|desc|description)([^a-z]|$)|comment|remark|free.?text|bemerk|notiz|"
    r"kommentar|freitext|remarque|observaci|osservaz|opmerking|annotation",
    re.IGNORECASE,
)
MIN_NOTES, MIN_NOTES_FRACTION = 10, 0.05
# So many different numbers are no names of categories, such as 1, 2, 3 and 4+.
MIN_MIXED_NUMBERS, MIN_MIXED_FRACTION = 20, 0.5
UNIQUE = "it has as many values as rows"
# A pinned schema may differ in these keys from config.json: the format of each file is detected.
FREE_KEYS = {"separator", "encoding"}

log = logging.getLogger(__name__)


class Inference(Struct, frozen=True):
    """The completed schema, the reasons of unused columns, and the shares of numbers, by name.

    `mixed` has the columns of numbers with texts among them, which are no numeric columns.
    """

    schema: Schema
    set_aside: dict[str, str] = field(default_factory=dict)
    mixed: dict[str, float] = field(default_factory=dict)


class ColumnProfile(Struct, frozen=True):
    """The counts and kind of a text column, computed from a table without duplicate rows.

    `n_most` rows have the most frequent of `n_values` different values. `blank` is True if every
    value is "". `measure`, numbers with fractions, is computed if no value is repeated.
    `share_numbers` is that of the filled cells.
    """

    n_rows: int
    n_values: int
    n_most: int
    blank: bool
    numeric: bool
    measure: bool
    kind: ColumnKind = ColumnKind.OTHER
    share_numbers: float = 0.0

    @property
    def is_mixed(self) -> bool:
        """Return whether most of many different values are numbers, and the others texts."""
        return (
            not self.numeric
            and self.share_numbers >= MIN_MIXED_FRACTION
            and is_many_numbers(self.n_values)
        )


def is_many_numbers(n_numbers: int) -> bool:
    """Return whether so many different numbers hardly name categories."""
    return n_numbers >= MIN_MIXED_NUMBERS


def common_names(files: Sequence[tuple[Sequence[str], int]]) -> list[str]:
    """List the columns of more than half of the rows, in the order of their first file.

    Parameters
    ----------
    files : sequence of tuple of sequence of str and int
        Columns and number of rows of each file.

    Returns
    -------
    list of str
        The columns.
    """
    whole = sum(n_rows for _, n_rows in files)
    names = list(dict.fromkeys(name for columns, _ in files for name in columns))
    return [n for n in names if 2 * sum(rows for columns, rows in files if n in columns) > whole]


def required_schema(declared: Schema) -> Schema:
    """Return the required columns of each file, without the target for dated rows."""
    return msgspec.structs.replace(declared, target="") if declared.date else declared


def split_names(
    shapes: Sequence[tuple[Sequence[str], int]], readings: Sequence[FileReading]
) -> tuple[list[str], list[str]]:
    """Return the columns of more than half of the rows of some tables, and the rarer columns.

    Raises
    ------
    DatasetError
        If there is no table.
    """
    if not shapes:
        raise DatasetError(f"No usable row was found. {read_report.format_complaints(readings)}")
    common = common_names(shapes)
    return common, sorted({name for names, _ in shapes for name in names} - set(common))


def read_as_text(
    paths: Sequence[Path], schema: Schema
) -> tuple[pd.DataFrame, list[FileReading], list[str]]:
    """Read files into a table of text, without duplicate rows.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        The required columns. Files of dated rows may lack the target.

    Returns
    -------
    tuple of pandas.DataFrame of shape (n_rows, n_columns), list of FileReading, list of str
        The rows of the files with every common column; a report of each file; the columns of
        fewer than half of the rows.

    Raises
    ------
    DatasetError
        If no row is usable.
    """
    readings, tables = [], []
    wanted = required_schema(schema)
    for path in paths:
        reading, columns = csv_reader.read_file(path, path.parent, wanted, as_text=True)
        readings.append(reading)
        if not reading.refused and any(columns.values()):
            tables.append(pd.DataFrame(columns, dtype="str"))
    common, rare = split_names([(list(table.columns), len(table)) for table in tables], readings)
    whole = [table[common] for table in tables if set(common) <= set(table.columns)]
    return pd.concat(whole, ignore_index=True).drop_duplicates(), readings, rare


def is_numeric(n_numbers: int, n_cells: int) -> bool:
    """Return whether at least 99 % of the filled cells are numbers."""
    return n_numbers >= MIN_NUMBERS_FRACTION * n_cells > 0


def is_measure(texts: Iterable[str], marks: NumberMarks) -> bool:
    """Return whether a numeric column has fractions, unlike identifiers."""
    numbers = (cells.parse_number(t, None, marks) for t in texts if cells.is_number(t, marks))
    return any(not number.is_integer() for number in numbers)


def count_values(counts: Mapping[str, int], marks: NumberMarks) -> ColumnCounts:
    """Count rows and numbers among different values with their numbers of rows."""
    texts = {text: count for text, count in counts.items() if text}
    return ColumnCounts(
        n_rows=sum(counts.values()),
        n_values=len(counts),
        n_most=max(counts.values(), default=0),
        n_numbers=sum(count for text, count in texts.items() if cells.is_number(text, marks)),
        has_fractions=is_measure(texts, marks),
        kinds=column_kinds.count_kinds(texts),
    )


def make_profile(counts: ColumnCounts) -> ColumnProfile:
    """Return the profile of a counted column."""
    numeric = is_numeric(counts.n_numbers, counts.kinds.n_cells)
    return ColumnProfile(
        n_rows=counts.n_rows,
        n_values=counts.n_values,
        n_most=counts.n_most,
        blank=not counts.kinds.n_cells,
        numeric=numeric,
        measure=numeric and counts.n_values == counts.n_rows and counts.has_fractions,
        kind=counts.kinds.kind(is_numeric=numeric),
        share_numbers=counts.n_numbers / max(1, counts.kinds.n_cells),
    )


def profile_column(column: pd.Series, marks: NumberMarks) -> ColumnProfile:
    """Compute the profile of a text column."""
    counts = {str(text): int(count) for text, count in column.value_counts().items()}
    return make_profile(count_values(counts, marks))


def reason_to_set_aside(profile: ColumnProfile) -> str:
    """Return the reason for leaving a column out of the model, or "" for a usable column."""
    if profile.n_values == 1:
        return "it is blank in every row" if profile.blank else "it has one value"
    if profile.kind is ColumnKind.DATES:
        return "it holds dates, which are used as days if schema.dates has it"
    if profile.n_values == profile.n_rows and not profile.measure:
        return UNIQUE
    if profile.kind and profile.kind is not ColumnKind.TEXTS:
        return f"it holds {profile.kind}"
    if not profile.numeric and profile.n_most < dataset.RARE_FRACTION * profile.n_rows:
        return f"each of its values is in fewer than {dataset.RARE_FRACTION:.1%} of the rows"
    return f"it holds {profile.kind}" if profile.kind else ""


def is_notes(name: str, profile: ColumnProfile) -> bool:
    """Return whether a text column has many texts and is named as a column of notes."""
    n_usual = max(MIN_NOTES, MIN_NOTES_FRACTION * profile.n_rows)
    return not profile.numeric and profile.n_values > n_usual and bool(NOTE_NAME.search(name))


def undeclared_columns(names: Iterable[str], declared: Schema) -> list[str]:
    """List the columns without a role in the declared schema."""
    named = {*declared.file_columns, *declared.ignore}
    return [name for name in names if name not in named]


def classify_columns(profiles: Mapping[str, ColumnProfile], declared: Schema) -> Inference:
    """Sort profiled columns into numeric, categorical and unused columns."""
    inferred: dict[str, list[str]] = {"numeric": [], "categorical": []}
    set_aside: dict[str, str] = {}
    for name, profile in profiles.items():
        kind = "numeric" if profile.numeric else "categorical"
        reason = reason_to_set_aside(profile)
        if not name:
            set_aside[name] = "it has no name"
        elif reason:
            set_aside[name] = reason
        elif is_notes(name, profile):
            n_texts = profile.n_values
            set_aside[name] = f"it is named as a column of notes, and has {n_texts} different texts"
        elif kind not in declared.inferred:
            set_aside[name] = f"it is {kind}, and schema.{kind} does not list it"
        else:
            inferred[kind].append(name)
    completed = {kind: tuple(inferred[kind]) for kind in inferred if kind in declared.inferred}
    mixed = {name: p.share_numbers for name, p in profiles.items() if name and p.is_mixed}
    return Inference(msgspec.structs.replace(declared, **completed), set_aside, mixed)


def infer_columns(table: pd.DataFrame, declared: Schema) -> Inference:
    """Infer the role of every undeclared column of a text table."""
    names = undeclared_columns(table.columns, declared)
    return classify_columns(
        {name: profile_column(table[name], declared.marks(name)) for name in names}, declared
    )


def infer_negative(target: Iterable[str], declared: Schema) -> str:
    """Return the negative label: the second label of the target beside the declared positive."""
    positive = normalise_label(declared.positive)
    labels = sorted({normalise_label(label) for label in target} - {""})
    others = [label for label in labels if label != positive]
    if positive in labels and len(others) == 1:
        return others[0]
    shown = ", ".join(map(cells.shorten, labels[:MAX_SHOWN_LABELS]))
    raise DatasetError(
        f"The target {declared.target!r} has {len(labels)} labels, among them {shown}; expected"
        f" {cells.shorten(positive)}, which is schema.positive, and one other. Set"
        " schema.positive, and schema.negative to the label of clients who stayed."
    )


def finish_inference(
    inference: Inference,
    target: Iterable[str],
    declared: Schema,
    readings: Sequence[FileReading],
    rare: Sequence[str],
) -> Inference:
    """Add the negative label and the rare columns to an inference, and check the schema."""
    schema = inference.schema
    if "negative" in declared.inferred:
        negative = infer_negative(target, declared)
        schema = msgspec.structs.replace(schema, negative=negative)
    if not client_dates.dataset_schema(schema).features:
        raise DatasetError(
            f"No column is left to train on: {inference.set_aside}."
            f" {read_report.format_complaints(readings)}"
        )
    check_schema(schema, "The inferred schema")
    partly = dict.fromkeys(rare, "only files with fewer than half of the rows have it")
    return Inference(schema, inference.set_aside | partly, inference.mixed)


def infer_from_small(paths: Sequence[Path], declared: Schema) -> Inference:
    """Complete a declared schema from files read and counted cell by cell."""
    table, readings, rare = read_as_text(paths, declared)
    target = table.get(declared.target, ())
    # Of a client with many rows the last one shows how the columns are written.
    clients = table.drop_duplicates(declared.client_key, keep="last") if declared.date else table
    inference = infer_columns(clients, declared)
    return finish_inference(inference, target, declared, readings, rare)


def infer_from_large(paths: Sequence[Path], declared: Schema) -> Inference:
    """Complete a declared schema from files read and counted by Polars."""
    profile = table_reader.import_polars().polars_profile
    tables, readings = profile.read_texts(paths, required_schema(declared))
    names, rare = split_names([(table.columns, table.height) for table in tables], readings)
    table = profile.unite(tables, names)
    target = table[declared.target].unique().to_list() if declared.target in names else ()
    clients = profile.keep_last(table, declared.client_key) if declared.date else table
    profiles = {
        name: make_profile(profile.count_column(clients[name], declared.marks(name)))
        for name in undeclared_columns(names, declared)
    }
    return finish_inference(classify_columns(profiles, declared), target, declared, readings, rare)


def infer(paths: Sequence[Path], declared: Schema) -> Inference:
    """Complete a declared schema from the contents of files.

    Parameters
    ----------
    paths : sequence of Path
        CSV files of clients.
    declared : Schema
        `inferred` names the keys to infer: "numeric", "categorical", "negative".

    Returns
    -------
    Inference
        A column is numeric if at least 99 % of the filled cells are numbers, else categorical. A
        column is set aside if it has one value, as many values as rows (unless they are numbers
        with fractions), or only rare categories.

    Raises
    ------
    DatasetError
        If no row is usable, no column is left, or the target does not have two labels.
    ConfigError
        If the declared part does not fit the columns, as a percent sign in a category.

    Notes
    -----
    docs/own-data.md, section "Any client table".
    """
    read = infer_from_large if table_reader.are_large(paths) else infer_from_small
    return read(paths, declared)


Infer = Callable[[Sequence[Path], Schema], Inference]


def is_pinned(declared: Schema, pinned: Schema) -> bool:
    """Return whether a schema was completed from the declared schema."""
    free, pinned = FREE_KEYS | set(declared.inferred), client_dates.reading_schema(pinned)
    keys = [key for key in Schema.__struct_fields__ if key not in free]
    return all(getattr(declared, key) == getattr(pinned, key) for key in keys)


def complete(
    declared: Schema, pinned: Schema | None, paths: Sequence[Path], infer_schema: Infer = infer
) -> Schema:
    """Return the schema of the next run: production's if pinned, declared if complete, or inferred.

    Parameters
    ----------
    declared : Schema
        The schema of config.json.
    pinned : Schema or None
        The schema of the model in production.
    paths : sequence of Path
        The files for the inference.
    infer_schema : callable
        The inference of the engine.

    Returns
    -------
    Schema
        A complete schema. The inferred part is logged, with a warning for each column set aside.
    """
    if not declared.inferred:
        return declared
    if pinned is not None and is_pinned(declared, pinned):
        free = {key: getattr(declared, key) for key in FREE_KEYS}
        return msgspec.structs.replace(client_dates.reading_schema(pinned), **free)
    inference = infer_schema(paths, declared)
    if "" in inference.set_aside:
        log.info("Left out the columns without a name.")
    for name, reason in filter(lambda item: item[0], inference.set_aside.items()):
        log.warning(
            "Set the column %r aside: %s. List it in schema.numeric or schema.categorical to use"
            " it, or in schema.ids or schema.ignore to end this warning.", name, reason,
        )  # fmt: skip
    for name, share in inference.mixed.items():
        log.warning(
            "The column %r is no numeric column, since %.0f%% of its cells are no numbers. If a"
            " word there stands for a missing number, such as NULL or ?, leave the cells blank.",
            name, 100 * (1 - share),
        )  # fmt: skip
    schema = inference.schema
    log.info(
        "Inferred the schema: numeric %s; categorical %s; clients who stayed are %r.",
        list(schema.numeric), list(schema.categorical),
        next(label for label, meaning in schema.labels.items() if not meaning),
    )  # fmt: skip
    return schema
