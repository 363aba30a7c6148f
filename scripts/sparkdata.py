"""The dataset of a cluster: a folder of parts, what identifies it, how it is split."""

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

from scripts import artifacts, dataset, duplicates, durable, reference, sparkparts
from scripts.cluster import gather
from scripts.config import EngineSettings, Schema, TrainingSettings
from scripts.errors import ClusterError, DatasetError

SUCCESS = "_SUCCESS"
SHARE = "adras share"
TWO_TO_64 = 2**64

Floats = NDArray[np.float64]


class Identity(Struct, frozen=True):
    """What tells one set of rows from another, in whatever order and parts they are."""

    sha256: str
    n_rows: int
    # Where its parts are, if not beside this, and their format.
    address: str = ""
    spelled: str = sparkparts.PARQUET


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
    return Identity(durable.digest(spelled.encode()), n_rows)


def write_parts_here(rows: DataFrame, folder: Path, spelled: str) -> str:
    """Write the parts of a dataset into a folder; give the address.

    Raises
    ------
    ClusterError
        If the parts are not where this machine sees them.
    """
    address = sparkparts.address_of(folder)
    sparkparts.write(rows, address, spelled)
    if not (folder / SUCCESS).exists() or not any(folder.glob("part-*")):
        raise ClusterError(
            f"The cluster wrote a dataset, but {folder} has no parts of it here: the workers"
            f" must see {folder.parent} at the same path, on a file system that all share; or"
            " name one of the cluster's own in engine.dataset_address."
        )
    return sparkparts.escape(address)


def write_parts_elsewhere(rows: DataFrame, path: Path, engine: EngineSettings) -> str:
    """Write the parts of a dataset where `engine.dataset_address` says; give their address."""
    address = f"{engine.dataset_address.rstrip('/')}/{path.stem}"
    sparkparts.note_address(path, address)
    sparkparts.write(rows, address, engine.dataset_format)
    return address


def write_dataset(rows: DataFrame, path: Path, schema: Schema, engine: EngineSettings) -> Identity:
    """Write a dataset as parts; it gets its name here by one rename when it is whole.

    Parameters
    ----------
    rows : pyspark.sql.DataFrame
        Its rows.
    path : Path
        The folder of the parts, or of what identifies them where they are elsewhere.
    schema : Schema
        Its columns.
    engine : EngineSettings
        Where the parts are to be, and how they are spelled.

    Returns
    -------
    Identity
        Of the parts, as they are read again.
    """
    durable.make_folder(path.parent)
    sparkparts.delete_forgotten(rows.sparkSession, path.parent)
    temporary = path.with_name(f".{path.name}{durable.TEMPORARY_SUFFIX}")
    if engine.dataset_address:
        durable.make_folder(temporary)
        elsewhere = address = write_parts_elsewhere(rows, path, engine)
    else:
        elsewhere, address = "", write_parts_here(rows, temporary, engine.dataset_format)
    written = sparkparts.read(rows.sparkSession, address, engine.dataset_format, schema)
    identity = msgspec.structs.replace(
        identify(written, schema), address=elsewhere, spelled=engine.dataset_format
    )
    durable.write_whole(temporary / artifacts.IDENTITY, msgspec.json.encode(identity))
    temporary.rename(path)
    durable.sync_folder(path.parent)
    return identity


def read_parts(session: SparkSession, path: Path, schema: Schema) -> DataFrame:
    """Read the parts of a dataset, wherever they are."""
    identity = read_identity(path)
    address = identity.address or sparkparts.escape(sparkparts.address_of(path))
    return sparkparts.read(session, address, identity.spelled, schema)


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
    rows = read_parts(session, path, schema)

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            table = to_table(pa.Table.from_batches([batch]), schema)
            shares = pa.array(share_rows(table, schema, settings.random_state))
            yield pa.RecordBatch.from_arrays([*batch.columns, shares], [*batch.schema.names, SHARE])

    kinds = StructType([*rows.schema.fields, StructField(SHARE, DoubleType())])
    return rows.mapInArrow(work, kinds).persist()
