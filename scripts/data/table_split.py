"""Splits client tables into training and test rows."""

import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.model_selection import train_test_split

from scripts.core import files, sentences
from scripts.core.config import ISO_FORMAT, Schema, normalise_label
from scripts.core.errors import DatasetError
from scripts.data import csv_reader, read_report, suggestion_reading
from scripts.data.time_suggestion import day_texts

log = logging.getLogger(__name__)


def format_rows(table: pd.DataFrame, separator: str) -> str:
    """Format a table of text as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.itertuples(index=False))
    return buffer.getvalue()


def draw_test_rows(
    labels: pd.Series, clients: pd.Series, meaning: dict[str, int], *, fraction: float, seed: int
) -> pd.Index:
    """Draw the rows of the test table, all rows of a client together, stratified by label.

    Parameters
    ----------
    labels, clients : pandas.Series of shape (n_rows,)
        The label and the client of each row.
    meaning : dict of str to int
        The labels that count.
    fraction : float
        The share of the clients.
    seed : int
        The seed of the draw.

    Returns
    -------
    pandas.Index
        The drawn rows with a label.

    Raises
    ------
    DatasetError
        If there are too few clients who left, or stayed, for both tables.
    """
    labels = labels[labels.isin(meaning)]
    # A client with several rows counts once, by the last one.
    last = labels.groupby(clients[labels.index]).last()
    try:
        _, drawn = train_test_split(
            last.index.to_numpy(object), test_size=fraction, random_state=seed, stratify=last
        )
    except ValueError as error:
        counts = ", ".join(f"{count} {label!r}" for label, count in labels.value_counts().items())
        raise DatasetError(
            f"The rows cannot be split: {counts or 'no row has a label'}; each label needs rows for"
            f" both tables. Give more rows, or another share than {fraction:g}."
        ) from error
    rows: pd.Index = labels.index[clients[labels.index].isin(drawn)]
    return rows


def find_clients(table: pd.DataFrame, ids: Sequence[str]) -> pd.Series:
    """Return the client of each row by the identifier, or a client per row without identifier."""
    known = [name for name in ids if name in table.columns]
    if not known:
        return pd.Series(table.index.astype(str), index=table.index)
    own = pd.Series([f"row {number}" for number in table.index], index=table.index)
    return table[known[0]].where(table[known[0]] != "", own)


def find_days(table: pd.DataFrame, section: dict[str, Any]) -> pd.Series | None:
    """Return the day of each row as an ISO date, None without a column of days."""
    date = section.get("date", "")
    own = date if isinstance(date, dict) else {"column": date, "format": ISO_FORMAT}
    column, date_format = str(own["column"]), str(own["format"])
    return day_texts(table[column], date_format) if column in table.columns else None


def split_by_day(
    test: pd.Index, labels: pd.Series, days: pd.Series, clients: pd.Series, meaning: dict[str, int]
) -> tuple[pd.Index, pd.Index]:
    """Return the rows of test clients on the last labelled day, and earlier rows of all others.

    Raises
    ------
    DatasetError
        If all labelled rows are of one day.
    """
    is_labelled = labels.isin(meaning)
    last = days[is_labelled].max()
    test = test[days[test] == last]
    is_earlier = is_labelled & (days < last) & ~clients.isin(clients[test])
    if not is_earlier.any():
        raise DatasetError(f"The rows cannot be split by time: all with a label are of {last}.")
    log.info(
        "Split by time and client: the test rows are of %s, the others are earlier and of other"
        " clients. %d rows of that day, or of test clients, are in neither.",
        last, int(is_labelled.sum()) - len(test) - int(is_earlier.sum()),
    )  # fmt: skip
    return test, labels.index[is_earlier]


def split_rows(
    table: pd.DataFrame, section: dict[str, Any], schema: Schema, *, fraction: float, seed: int
) -> tuple[pd.Index, pd.Index]:
    """Return the rows for training, with today's clients, and the rows for the test."""
    labels = table[schema.target].map(normalise_label)
    clients = find_clients(table, [section["key"]] if "key" in section else section.get("ids", []))
    test = draw_test_rows(labels, clients, schema.labels, fraction=fraction, seed=seed)
    is_today, is_labelled = labels == "", labels.isin(schema.labels)
    train = table.index[is_labelled].difference(test)
    days = find_days(table, section)
    if days is not None and days[is_labelled].nunique() > 1:
        test, train = split_by_day(test, labels, days, clients, schema.labels)
    n_other = len(table) - int(is_today.sum()) - int(is_labelled.sum())
    if n_other:
        other = sentences.count(n_other, "row")
        log.warning("Left out %s whose label is neither of %s.", other, list(schema.labels))
    return train.union(table.index[is_today]), test.sort_values()


def split_off(
    paths: list[Path], section: dict[str, Any], *, fraction: float, seed: int
) -> tuple[Path, Path]:
    """Write the rows of files into `traindata` and `testdata` beside their folder.

    The split is by client, stratified by label, and the order is kept. With days the test rows are
    of the last day with labels, and the others are earlier. Rows without a label, today's clients,
    go to `traindata`. Rows left out are logged.

    Raises
    ------
    DatasetError
        If the files have no column of labels, or too few rows, or the places are taken.
    """
    if "target" not in section:
        raise DatasetError(
            "Nothing to split: the outcomes are in files of their own, and the rows of the latest"
            " period whose outcomes are known are the test data by themselves."
        )
    keys = ("target", "positive", "negative", "separator")
    schema = Schema(ids=(), numeric=(), **{key: section[key] for key in keys if key in section})
    read = suggestion_reading.read_folder(paths, schema.separator)
    read_report.log_readings(read.readings)
    for name, lacking in read.lacking.items():
        log.info("%s lacks the columns %s, which are left blank.", name, lacking)
    if read.others:
        names = ", ".join(file.path.name for file in read.others)
        log.warning("Left out files with other columns: %s.", names)
    table = read.table.drop_duplicates(ignore_index=True)
    if len(read.table) > len(table):
        n_equal = len(read.table) - len(table)
        equal = sentences.count(
            n_equal, "row that is equal to another", "rows that are equal to others"
        )
        log.warning("Left out %s.", equal)
    train, test = split_rows(table, section, schema, fraction=fraction, seed=seed)
    beside = paths[0].resolve().parent.parent
    # The proposed section is to read them, too; a comma needs no declaration.
    separator = "," if schema.separator == csv_reader.AUTO else schema.separator
    places = beside / "traindata" / "traindata.csv", beside / "testdata" / "testdata.csv"
    for place in places:
        if place.exists():
            raise DatasetError(f"{place} is there already; move it away, or split elsewhere.")
    for place, rows in zip(places, (train, test), strict=True):
        files.write_whole(place, format_rows(table.loc[rows], separator))
        log.info("Wrote %s to %s.", sentences.count(len(rows), "row"), place)
    n_today = int((table.loc[train, schema.target] == "").sum())
    if n_today:
        log.info("%d rows of %s have no label: today's clients.", n_today, places[0])
    return places
