"""The dataset of a cluster: a folder of parts, what identifies it, how it is split.

Where the parts of a dataset are, here or in an object store, and how they are spelled.

Finds on a cluster what has become of clients who were scored.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ByteType, DoubleType, StringType, StructField, StructType

from scripts.core import artifacts, files
from scripts.core.config import EngineSettings, Schema, TrainingSettings
from scripts.core.errors import ClusterError, DatasetError
from scripts.data import dataset, deduplicate
from scripts.data.dataset import Labels
from scripts.spark import cluster
from scripts.spark.cluster import column, gather

SUCCESS = "_SUCCESS"
SHARE = "adras share"
TWO_TO_64 = 2**64

Floats = NDArray[np.float64]

PARQUET, CSV = "parquet", "csv"


class Identity(Struct, frozen=True):
    """What tells one set of rows from another, in whatever order and parts they are."""

    sha256: str
    n_rows: int
    # Where its parts are, if not beside this, and their format.
    address: str = ""
    spelled: str = PARQUET


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
            numbers = deduplicate.hash_table_rows(to_table(part, schema), schema)
            mixed = deduplicate.mix(numbers, numbers >> np.uint64(1))
            n_rows += len(numbers)
            total += int(numbers.sum(dtype=np.uint64))
            product += int(mixed.sum(dtype=np.uint64))
        return msgspec.json.encode([n_rows, total % TWO_TO_64, product % TWO_TO_64])

    found = [msgspec.json.decode(piece, type=tuple[int, int, int]) for piece in gather(rows, work)]
    n_rows, total, product = (sum(numbers) for numbers in zip(*found, strict=True))
    spelled = f"{n_rows} {total % TWO_TO_64} {product % TWO_TO_64} {list(schema.columns)}"
    return Identity(files.digest(spelled.encode()), n_rows)


def write_parts_here(rows: DataFrame, folder: Path, spelled: str) -> str:
    """Write the parts of a dataset into a folder; give the address.

    Raises
    ------
    ClusterError
        If the parts are not where this machine sees them.
    """
    address = address_of(folder)
    write(rows, address, spelled)
    if not (folder / SUCCESS).exists() or not any(folder.glob("part-*")):
        raise ClusterError(
            f"The cluster wrote a dataset, but {folder} has no parts of it here: the workers"
            f" must see {folder.parent} at the same path, on a file system that all share; or"
            " name one of the cluster's own in engine.dataset_address."
        )
    return escape(address)


def write_parts_elsewhere(rows: DataFrame, path: Path, engine: EngineSettings) -> str:
    """Write the parts of a dataset where `engine.dataset_address` says; give their address."""
    address = f"{engine.dataset_address.rstrip('/')}/{path.stem}"
    note_address(path, address)
    write(rows, address, engine.dataset_format)
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
    files.make_folder(path.parent)
    delete_forgotten(rows.sparkSession, path.parent)
    temporary = path.with_name(f".{path.name}{files.TEMPORARY_SUFFIX}")
    if engine.dataset_address:
        files.make_folder(temporary)
        elsewhere = address = write_parts_elsewhere(rows, path, engine)
    else:
        elsewhere, address = "", write_parts_here(rows, temporary, engine.dataset_format)
    written = read(rows.sparkSession, address, engine.dataset_format, schema)
    identity = msgspec.structs.replace(
        identify(written, schema), address=elsewhere, spelled=engine.dataset_format
    )
    files.write_whole(temporary / artifacts.IDENTITY, msgspec.json.encode(identity))
    temporary.rename(path)
    files.sync_folder(path.parent)
    return identity


def read_parts(session: SparkSession, path: Path, schema: Schema) -> DataFrame:
    """Read the parts of a dataset, wherever they are."""
    identity = read_identity(path)
    address = identity.address or escape(address_of(path))
    return read(session, address, identity.spelled, schema)


def read_identity(path: Path) -> Identity:
    """Read what identifies a dataset."""
    place = path / artifacts.IDENTITY
    try:
        return msgspec.json.decode(place.read_bytes(), type=Identity)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not as ingestion wrote it; run ingestion again.") from error


def share_rows(table: pd.DataFrame, schema: Schema, seed: int) -> Floats:
    """Draw a number in [0, 1) for each row, of its cells and the seed alone, shape (n_rows,)."""
    numbers = deduplicate.hash_table_rows(table, schema)
    # Twice, since one round leaves the order of the seeds in the highest bits.
    seeds = np.full(len(numbers), seed, np.uint64)
    mixed = deduplicate.mix(deduplicate.mix(numbers, seeds), seeds)
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


GLOB_CHARACTERS = re.compile(r"([\\*?\[\]{}])")
# As RFC 4180 has it, and every cell as it stands.
SPELLED: dict[str, Any] = {
    "header": True, "escape": '"', "ignoreLeadingWhiteSpace": False,
    "ignoreTrailingWhiteSpace": False, "encoding": "UTF-8",
}  # fmt: skip
# Which datasets were written elsewhere: the name of each here, and the address of its parts.
ELSEWHERE = "datasets_elsewhere.json"

log = logging.getLogger(__name__)


def address_of(path: Path) -> str:
    """Spell a path for Spark, whose own default may be another file system."""
    return f"file://{path}"


def escape(address: str) -> str:
    """Take from an address of ours what Spark would read as a pattern."""
    return GLOB_CHARACTERS.sub(r"\\\1", address)


def kinds_of(schema: Schema) -> StructType:
    """Say how each column is kept on the cluster."""
    kinds = dict.fromkeys(schema.numeric, DoubleType()) | {schema.target: ByteType()}
    return StructType([StructField(name, kinds.get(name, StringType())) for name in schema.columns])


def write(rows: DataFrame, address: str, spelled: str) -> None:
    """Write rows as parts."""
    options = SPELLED if spelled == CSV else {}
    rows.write.mode("overwrite").format(spelled).options(**options).save(address)


def read(session: SparkSession, address: str, spelled: str, schema: Schema) -> DataFrame:
    """Read parts; one that is damaged ends the run."""
    if spelled == PARQUET:
        return session.read.parquet(address).select(*map(column, schema.columns))
    rows = session.read.csv(address, kinds_of(schema), mode="FAILFAST", **SPELLED)
    texts = {*schema.ids, *schema.categorical}
    return rows.select(
        *(
            # In a file an empty text may look like none.
            F.coalesce(column(name), F.lit("")).alias(name) if name in texts else column(name)
            for name in schema.columns
        )
    )


def delete(session: SparkSession, address: str) -> None:
    """Delete parts by Hadoop, which knows the keys of object stores."""
    jvm: Any = session._jvm
    place = jvm.org.apache.hadoop.fs.Path(address)
    place.getFileSystem(session._jsc.hadoopConfiguration()).delete(place, True)


def read_ledger(folder: Path) -> dict[str, str]:
    """Read which datasets of a folder have their parts elsewhere.

    Raises
    ------
    DatasetError
        If the file is damaged.
    """
    path = folder / ELSEWHERE
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path} is damaged: it names the addresses at which datasets have their parts. Remove"
            " it, and those parts when their datasets are gone here."
        ) from error


def write_ledger(folder: Path, ledger: dict[str, str]) -> None:
    """Write which datasets of a folder have their parts elsewhere."""
    files.write_whole(folder / ELSEWHERE, msgspec.json.encode(ledger, order="sorted"))


def note_address(path: Path, address: str) -> None:
    """Note where the parts of a dataset will be, so that they are found whatever happens."""
    write_ledger(path.parent, read_ledger(path.parent) | {path.name: address})


def delete_forgotten(session: SparkSession, folder: Path) -> None:
    """Delete the parts elsewhere of the datasets that retention, or a killed run, left no more."""
    ledger = read_ledger(folder)
    for name, address in ledger.items():
        if not (folder / name).exists():
            delete(session, address)
            log.info("Removed the parts of %s from %s.", name, address)
    kept = {name: address for name, address in ledger.items() if (folder / name).exists()}
    if kept != ledger:
        write_ledger(folder, kept)


Found = dict[str, Labels]


def in_order(labels: Labels) -> Labels:
    """Put the labels of a client into an order that does not depend on that of the rows.

    Of several that have become known at once the last counts, which then is that of leaving.
    """
    return dict(sorted(labels.items(), key=lambda entry: (entry[1], entry[0])))


def collect_labels(engine: EngineSettings, path: Path, schema: Schema, wanted: set[str]) -> Found:
    """Collect the labels of the wanted clients off a dataset in parts, as `joining` does."""

    def work(parts: Iterator[pa.Table]) -> bytes:
        tables = (to_table(part, schema) for part in parts)
        return msgspec.json.encode(dataset.collect_labels(tables, schema, wanted))

    with cluster.working(engine) as session:
        pieces = cluster.gather(read_parts(session, path, schema), work)
    found: Found = {}
    for piece in pieces:
        for name, labels in msgspec.json.decode(piece, type=Found).items():
            found.setdefault(name, {}).update(labels)
    return {name: in_order(labels) for name, labels in found.items()}
