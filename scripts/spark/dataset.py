"""Datasets of a cluster: parts here or at an address, identity, split, and labels of clients."""

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
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from scripts.core import artifacts, files
from scripts.core.config import EngineSettings, Schema
from scripts.core.errors import ClusterError, DatasetError
from scripts.core.name_hashes import NameFilter, hash_names
from scripts.data import dataset, deduplicate
from scripts.data.dataset import KnownLabels
from scripts.spark import cluster
from scripts.spark.cluster import column, gather

SUCCESS = "_SUCCESS"
TWO_TO_64 = 2**64
PARQUET, CSV = "parquet", "csv"
GLOB_CHARACTERS = re.compile(r"([\\*?\[\]{}])")
# The CSV dialect of RFC 4180, with cells unchanged.
CSV_OPTIONS: dict[str, Any] = {
    "header": True, "escape": '"', "ignoreLeadingWhiteSpace": False,
    "ignoreTrailingWhiteSpace": False, "encoding": "UTF-8",
}  # fmt: skip
# The ledger of datasets with their parts elsewhere: the name of each here, and the address.
ELSEWHERE = "datasets_elsewhere.json"

LabelColumns = tuple[list[str], list[int], list[int]]

log = logging.getLogger(__name__)


class Identity(Struct, frozen=True):
    """The identity of a set of rows, independent of order and parts."""

    sha256: str
    n_rows: int
    # The address of parts elsewhere, and the format of the parts.
    address: str = ""
    format: str = msgspec.field(default=PARQUET, name="spelled")


def address_of(path: Path) -> str:
    """Return the file:// address of a path, since Spark may default to another file system."""
    return f"file://{path}"


def escape(address: str) -> str:
    """Escape the glob characters of an address for Spark."""
    return GLOB_CHARACTERS.sub(r"\\\1", address)


def column_kinds(schema: Schema) -> dict[str, str]:
    """Return the Spark types of the columns of a schema."""
    kinds = dict.fromkeys(schema.columns, "string") | dict.fromkeys(schema.numeric, "double")
    kinds |= dict.fromkeys(schema.date_formats, "double") | {schema.target: "tinyint"}
    return kinds | ({schema.as_of: "bigint"} if schema.date else {})


def write(rows: DataFrame, address: str, file_format: str) -> None:
    """Write rows as parts."""
    options = CSV_OPTIONS if file_format == CSV else {}
    rows.write.mode("overwrite").format(file_format).options(**options).save(address)


def read(session: SparkSession, address: str, file_format: str, schema: Schema) -> DataFrame:
    """Read parts, with an error for a damaged part."""
    if file_format == PARQUET:
        return session.read.parquet(address).select(*map(column, schema.columns))
    rows = session.read.csv(
        address, cluster.ddl(column_kinds(schema)), mode="FAILFAST", **CSV_OPTIONS
    )
    texts = {*schema.ids, *schema.categorical}
    return rows.select(
        *(
            # In a CSV file an empty text looks like a missing text.
            F.coalesce(column(name), F.lit("")).alias(name) if name in texts else column(name)
            for name in schema.columns
        )
    )


def delete(session: SparkSession, address: str) -> None:
    """Delete parts by Hadoop, with the keys of object stores."""
    jvm: Any = session._jvm
    place = jvm.org.apache.hadoop.fs.Path(address)
    place.getFileSystem(session._jsc.hadoopConfiguration()).delete(place, True)


def read_ledger(folder: Path) -> dict[str, str]:
    """Read the ledger of a folder: datasets with parts elsewhere, and their addresses.

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
    """Write the ledger of datasets with parts elsewhere."""
    files.write_whole(folder / ELSEWHERE, msgspec.json.encode(ledger, order="sorted"))


def note_address(path: Path, address: str) -> None:
    """Add the future address of a dataset to the ledger, for cleaning up after a killed run."""
    write_ledger(path.parent, read_ledger(path.parent) | {path.name: address})


def delete_forgotten(session: SparkSession, folder: Path) -> None:
    """Delete the parts elsewhere of datasets removed by retention or lost by a killed run."""
    ledger = read_ledger(folder)
    for name, address in ledger.items():
        if not (folder / name).exists():
            delete(session, address)
            log.info("Removed the parts of %s from %s.", name, address)
    kept = {name: address for name, address in ledger.items() if (folder / name).exists()}
    if kept != ledger:
        write_ledger(folder, kept)


def to_table(part: pa.Table, schema: Schema) -> pd.DataFrame:
    """Convert rows of a partition to a table of the pandas engine."""
    return dataset.make_table(
        {name: part[name].to_pandas().to_numpy() for name in schema.columns}, schema
    )


def identify(rows: DataFrame, schema: Schema) -> Identity:
    """Compute the identity of rows from sums of their hashes, independent of the order."""

    def work(parts: Iterator[pa.Table]) -> bytes:
        n_rows, total, product = 0, 0, 0
        for part in parts:
            hashes = deduplicate.hash_arrow_rows(part, schema)
            mixed = deduplicate.mix(hashes, hashes >> np.uint64(1))
            n_rows += len(hashes)
            total += int(hashes.sum(dtype=np.uint64))
            product += int(mixed.sum(dtype=np.uint64))
        return msgspec.json.encode([n_rows, total % TWO_TO_64, product % TWO_TO_64])

    sums = [msgspec.json.decode(piece, type=tuple[int, int, int]) for piece in gather(rows, work)]
    n_rows, total, product = (sum(numbers) for numbers in zip(*sums, strict=True))
    text = f"{n_rows} {total % TWO_TO_64} {product % TWO_TO_64} {list(schema.columns)}"
    return Identity(files.digest(text.encode()), n_rows)


def write_parts_here(rows: DataFrame, folder: Path, file_format: str) -> str:
    """Write the parts of a dataset into a folder, and return the address.

    Raises
    ------
    ClusterError
        If the parts are invisible to this machine.
    """
    address = address_of(folder)
    write(rows, address, file_format)
    if not (folder / SUCCESS).exists() or not any(folder.glob("part-*")):
        raise ClusterError(
            f"The cluster wrote a dataset, but {folder} has no parts of it here: the workers"
            f" must see {folder.parent} at the same path, on a file system that all share; or"
            " name one of the cluster's own in engine.dataset_address."
        )
    return escape(address)


def write_parts_elsewhere(rows: DataFrame, path: Path, engine: EngineSettings) -> str:
    """Write the parts of a dataset below `engine.dataset_address`, and return the address."""
    address = f"{engine.dataset_address.rstrip('/')}/{path.stem}"
    note_address(path, address)
    write(rows, address, engine.dataset_format)
    return address


def write_dataset(rows: DataFrame, path: Path, schema: Schema, engine: EngineSettings) -> Identity:
    """Write a dataset as parts, complete or not at all by a final rename.

    Parameters
    ----------
    rows : pyspark.sql.DataFrame
        The rows.
    path : Path
        The folder of the parts, or of the identity alone for parts elsewhere.
    schema : Schema
        The columns.
    engine : EngineSettings
        Address and format of the parts.

    Returns
    -------
    Identity
        Of the parts as read back.
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
        identify(written, schema), address=elsewhere, format=engine.dataset_format
    )
    files.write_whole(temporary / artifacts.IDENTITY, msgspec.json.encode(identity))
    temporary.rename(path)
    files.sync_folder(path.parent)
    return identity


def read_identity(path: Path) -> Identity:
    """Read the identity of a dataset.

    Raises
    ------
    DatasetError
        If the file is missing or damaged.
    """
    place = path / artifacts.IDENTITY
    try:
        return msgspec.json.decode(place.read_bytes(), type=Identity)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not as ingestion wrote it; run ingestion again.") from error


def read_parts(session: SparkSession, path: Path, schema: Schema) -> DataFrame:
    """Read the parts of a dataset, here or elsewhere."""
    identity = read_identity(path)
    address = identity.address or escape(address_of(path))
    return read(session, address, identity.format, schema)


def in_any_order(labels: KnownLabels) -> KnownLabels:
    """Sort the labels of each client, independent of the order of rows.

    Of labels known at the same moment the last counts, which then is the exit.
    """
    order = np.lexsort((labels.row_hashes, labels.labels))
    return KnownLabels(
        labels.name_hashes[order], labels.names.iloc[order], labels.row_hashes[order],
        labels.labels[order],
    )  # fmt: skip


def collect_labels(
    engine: EngineSettings, path: Path, schema: Schema, wanted: NameFilter
) -> KnownLabels:
    """Collect the labels of the wanted clients from a dataset in parts."""

    def work(parts: Iterator[pa.Table]) -> bytes:
        tables = (to_table(part, schema) for part in parts)
        found = dataset.collect_labels(tables, schema, wanted)
        columns = (found.names, found.row_hashes, found.labels)
        return msgspec.json.encode([column.tolist() for column in columns])

    with cluster.open_cluster(engine) as session:
        pieces = gather(read_parts(session, path, schema), work)
    decoded = [msgspec.json.decode(piece, type=LabelColumns) for piece in pieces]
    return dataset.sort_labels(
        [in_any_order(dataset.sort_labels([as_labels(*columns) for columns in decoded]))]
    )


def as_labels(names: list[str], row_hashes: list[int], labels: list[int]) -> KnownLabels:
    """Return the labelled rows found by a task."""
    return KnownLabels(
        hash_names(names), pd.Series(names, dtype="str"), np.array(row_hashes, np.uint32),
        np.array(labels, np.int8),
    )  # fmt: skip
