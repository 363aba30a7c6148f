"""Writes a small table as the text of a dataset file, and knows the columns of the file."""

from collections.abc import Iterator

import pandas as pd

from scripts.core.config import Schema

PART_ROWS = 2**16


def whole_columns(table: pd.DataFrame) -> list[str]:
    """Return the float columns with whole and missing numbers only, written without a fraction."""
    return [
        str(name)
        for name in table.select_dtypes("float")
        if (table[name].isna() | (table[name] == table[name].round())).all()
    ]


def encode_table(table: pd.DataFrame) -> Iterator[bytes]:
    """Encode a table as CSV: integers without a fraction, missing cells empty.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        A client table. It is left unchanged.

    Yields
    ------
    bytes
        Whole lines in UTF-8, the header first.
    """
    whole = dict.fromkeys(whole_columns(table), "Int64")
    yield table.iloc[:0].to_csv(index=False, lineterminator="\n").encode()
    for start in range(0, len(table), PART_ROWS):
        part = table.iloc[start : start + PART_ROWS].astype(whole)
        yield part.to_csv(index=False, header=False, lineterminator="\n").encode()


def ingested_schema(schema: Schema) -> Schema:
    """Return the schema of the dataset file, whose target is always 1 or 0."""
    return Schema(
        target=schema.target,
        ids=schema.ids,
        numeric=schema.numeric,
        categorical=schema.categorical,
        minimum=schema.minimums,
        separator=",",
        encoding="utf-8",
    )
