"""The dataset of a cluster: a folder of Parquet parts, what identifies it, how it is split."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import DoubleType, StructField, StructType

from scripts import artifacts, dataset, duplicates, reference
from scripts.cluster import column, gather
from scripts.config import Schema, TrainingSettings
from scripts.errors import ClusterError, DatasetError

SUCCESS = "_SUCCESS"
SHARE = "adras share"
GLOB_CHARACTERS = re.compile(r"([\\*?\[\]{}])")
TWO_TO_64 = 2**64

Floats = NDArray[np.float64]


class Identity(Struct, frozen=True):
    """What tells one set of rows from another, in whatever order and parts they are."""

    sha256: str
    n_rows: int


def address_of(path: Path) -> str:
    """Spell a path for Spark, whose own default may be another file system."""
    return f"file://{path}"


def to_table(part: pa.Table, schema: Schema) -> pd.DataFrame:
    """Give rows of a partition as the pandas engine has them."""
    return dataset.make_table(
        {name: part[name].to_pandas().to_numpy() for name in schema.columns}, schema
    )


def identify(rows: DataFrame, schema: Schema) -> Identity:
    """Compute the identity of a set of rows: of the sums of their numbers, which know no order."""

    def work(parts: Iterator[pa.Table]) -> bytes:
        n_rows, total, product = 0, 0, 0
        for part in parts:
            numbers = reference.number_rows(to_table(part, schema), schema)
            mixed = duplicates.mix(numbers, numbers >> np.uint64(1))
            n_rows += len(numbers)
            total += int(numbers.sum(dtype=np.uint64))
            product += int(mixed.sum(dtype=np.uint64))
        return msgspec.json.encode([n_rows, total % TWO_TO_64, product % TWO_TO_64])

    found = [msgspec.json.decode(piece, type=tuple[int, int, int]) for piece in gather(rows, work)]
    n_rows, total, product = (sum(numbers) for numbers in zip(*found, strict=True))
    spelled = f"{n_rows} {total % TWO_TO_64} {product % TWO_TO_64} {list(schema.columns)}"
    return Identity(artifacts.digest(spelled.encode()), n_rows)


def write_dataset(rows: DataFrame, path: Path, schema: Schema) -> Identity:
    """Write a dataset as parts, beside; it gets its name by one rename when it is whole.

    Raises
    ------
    ClusterError
        If the parts are not where this machine sees them.
    """
    artifacts.make_folder(path.parent)
    temporary = path.with_name(f".{path.name}{artifacts.TEMPORARY_SUFFIX}")
    rows.write.mode("overwrite").parquet(address_of(temporary))
    if not (temporary / SUCCESS).exists() or not any(temporary.glob("part-*")):
        raise ClusterError(
            f"The cluster wrote a dataset, but {temporary} has no parts of it here: the workers"
            f" must see {path.parent} at the same path, on a file system that all share."
        )
    identity = identify(read_parts(rows.sparkSession, temporary), schema)
    artifacts.write_whole(temporary / artifacts.IDENTITY, msgspec.json.encode(identity))
    temporary.rename(path)
    artifacts.sync_folder(path.parent)
    return identity


def read_parts(session: SparkSession, path: Path) -> DataFrame:
    """Read the parts of a dataset."""
    escaped = GLOB_CHARACTERS.sub(r"\\\1", str(path))
    return session.read.parquet(f"file://{escaped}")


def read_identity(path: Path) -> Identity:
    """Read what identifies a dataset."""
    place = path / artifacts.IDENTITY
    try:
        return msgspec.json.decode(place.read_bytes(), type=Identity)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not as ingestion wrote it; run ingestion again.") from error


def share_rows(table: pd.DataFrame, schema: Schema, seed: int) -> Floats:
    """Draw a number in [0, 1) for each row, of its cells and the seed alone, shape (n_rows,)."""
    numbers = reference.number_rows(table, schema)
    # Twice, since one round leaves the order of the seeds in the highest bits.
    seeds = np.full(len(numbers), seed, np.uint64)
    mixed = duplicates.mix(duplicates.mix(numbers, seeds), seeds)
    return np.asarray((mixed >> np.uint64(11)) / 2.0**53, dtype=np.float64)


def read_dataset(
    session: SparkSession, path: Path, schema: Schema, settings: TrainingSettings
) -> DataFrame:
    """Read a dataset with the share of each row, by which it is split.

    Rows whose share is below `validation_fraction` are for validation: the same rows in whatever
    order and parts they are, and however many are added.
    """
    rows = read_parts(session, path).select(*(column(name) for name in schema.columns))

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            table = to_table(pa.Table.from_batches([batch]), schema)
            shares = pa.array(share_rows(table, schema, settings.random_state))
            yield pa.RecordBatch.from_arrays([*batch.columns, shares], [*batch.schema.names, SHARE])

    kinds = StructType([*rows.schema.fields, StructField(SHARE, DoubleType())])
    return rows.mapInArrow(work, kinds).persist()
