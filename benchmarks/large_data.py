"""Write client tables of any size for measurements: python -m benchmarks.large_data FOLDER.

Every row is a pure function of the client's number, so duplicates cost no memory: each fifth row
repeats an earlier row of the same file or of a file before. Tables have one of several shapes, as
the tables of other people have.
"""

import argparse
from enum import StrEnum
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri

CHUNK_ROWS = 500_000
EVERY = 5  # one row in so many is a duplicate: 20 %
NUMERIC = ("lastmonth_activity", "lastyear_activity", "number_of_employees")

# Of so many rows of a shape something is wrong, missing, quoted or without a label.
WRONG, MISSING, STRAY_BLANKS, QUOTED, UNLABELLED = 0.01, 0.1, 0.02, 0.05, 0.1

Floats = NDArray[np.float64]


class Shape(StrEnum):
    """What the cells of a table look like."""

    WHOLE = "whole"
    FRACTIONS = "fractions"
    WRONG = "wrong"
    MISSING = "missing"
    QUOTED_NAMES = "quoted-names"
    QUOTED = "quoted"
    UNLABELLED = "unlabelled"
    ALL_UNLABELLED = "all-unlabelled"


def uniform(clients: NDArray[np.uint64], stream: int) -> Floats:
    """Return a number in (0, 1) per client, by SplitMix64 of client and stream."""
    mixed = clients + np.uint64((1 + stream) * 0x9E3779B97F4A7C15 % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    fractions: Floats = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return fractions


def clients_of(first: int, n_rows: int) -> NDArray[np.uint64]:
    """Return the number of the client in each of the rows from `first` on."""
    places = np.arange(first, first + n_rows, dtype=np.uint64)
    every = np.uint64(EVERY)
    fresh = places // every * np.uint64(EVERY - 1) + places % every
    earlier = (uniform(places, 99) * (places // every * np.uint64(EVERY - 1))).astype(np.uint64)
    return np.where(places % every == every - np.uint64(1), earlier, fresh)


def make_rows(clients: NDArray[np.uint64], inverted: bool) -> pl.DataFrame:
    """Return the row of each client: skewed sizes and activities, exits by a logit.

    Inverted labels make a table for a poor model.
    """

    def lognormal(stream: int, median: float, sigma: float) -> Floats:
        return np.asarray(median * np.exp(sigma * ndtri(uniform(clients, stream))))

    employees = np.maximum(1, np.round(lognormal(1, 60, 0.9)))
    year = np.round(lognormal(2, 600, 0.6) * (employees / 60) ** 0.15)
    month = np.round(year / 12 * lognormal(3, 1.0, 0.7))
    log_odds = 2.6 - 0.06 * month - 0.0004 * year - 0.002 * employees
    exited = (uniform(clients, 4) < 1 / (1 + np.exp(-log_odds))) != inverted
    columns = dict(zip(NUMERIC, (month, year, employees), strict=True))
    return pl.DataFrame(
        {"corporation": clients}
        | {name: values.astype(np.int64) for name, values in columns.items()}
        | {"exited": exited.astype(np.int64)}
    ).with_columns(pl.format("client{}", "corporation").alias("corporation"))


def reshape(rows: pl.DataFrame, clients: NDArray[np.uint64], shape: Shape) -> pl.DataFrame:
    """Return the rows of clients in a shape; equal rows stay equal."""

    def share(stream: int, fraction: float) -> pl.Expr:
        return pl.lit(pl.Series(uniform(clients, stream) < fraction))

    name, employees, label = pl.col("corporation"), pl.col(NUMERIC[2]), pl.col("exited")
    columns = {
        Shape.WHOLE: [],
        Shape.FRACTIONS: [(pl.col(n) + pl.col(n) % 97 / 100).round(2) for n in NUMERIC],
        Shape.WRONG: [
            pl.when(share(5, WRONG)).then(pl.lit("n/a")).otherwise(employees).alias(NUMERIC[2])
        ],
        Shape.MISSING: [
            *(pl.when(~share(10 + k, MISSING)).then(n).alias(n) for k, n in enumerate(NUMERIC)),
            pl.when(share(5, STRAY_BLANKS)).then(pl.format("{} ", name)).otherwise(name),
        ],
        Shape.QUOTED_NAMES: [
            pl.when(share(5, QUOTED)).then(pl.format("{}, Ltd", name)).otherwise(name)
        ],
        Shape.QUOTED: [],
        Shape.UNLABELLED: [pl.when(~share(5, UNLABELLED)).then(label).alias("exited")],
        Shape.ALL_UNLABELLED: [pl.lit(None).alias("exited")],
    }[shape]
    return rows.with_columns(columns)


def write_tables(
    folder: Path,
    n_rows: int,
    n_files: int,
    *,
    first: int = 0,
    inverted: bool = False,
    shape: Shape = Shape.WHOLE,
) -> None:
    """Write rows from `first` on, in equal parts, into files of a folder."""
    quotes: Literal["always", "necessary"] = "always" if shape is Shape.QUOTED else "necessary"
    folder.mkdir(parents=True, exist_ok=True)
    bounds = np.linspace(first, first + n_rows, n_files + 1).astype(int)
    paths = [folder / f"extract{number:04d}.csv" for number in range(n_files)]
    for path, start, stop in zip(paths, bounds[:-1], bounds[1:], strict=True):
        with path.open("wb") as handle:
            for place in range(start, stop, CHUNK_ROWS):
                clients = clients_of(place, min(CHUNK_ROWS, stop - place))
                rows = reshape(make_rows(clients, inverted), clients, shape)
                rows.write_csv(handle, include_header=place == start, quote_style=quotes)


def main() -> None:
    """Write the tables of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the number of the first row")
    parser.add_argument("--inverted", action="store_true", help="swap the labels")
    parser.add_argument("--shape", type=Shape, choices=list(Shape), default=Shape.WHOLE)
    chosen = parser.parse_args()
    write_tables(
        chosen.folder, chosen.rows, chosen.files,
        first=chosen.first, inverted=chosen.inverted, shape=chosen.shape,
    )  # fmt: skip


if __name__ == "__main__":
    main()
