"""Datasets of a cluster: parts here or at an address, identity, and labels of clients."""

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from msgspec import Struct
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from scripts.core import artifacts, files, kept_lists
from scripts.core.config import EngineSettings, Schema
from scripts.core.errors import ClusterError, DatasetError
from scripts.core.name_hashes import NameFilter, hash_names
from scripts.data import dataset, dataset_scan, deduplicate
from scripts.data.dataset import KnownLabels
from scripts.spark import cluster
from scripts.spark.cluster import Batches, column

SUCCESS = "_SUCCESS"
PARQUET, CSV = "parquet", "csv"
GLOB_CHARACTERS = re.compile(r"([\\*?\[\]{}])")
# The CSV dialect of RFC 4180, with cells unchanged.
CSV_OPTIONS: dict[str, Any] = {
    "header": True, "escape": '"', "ignoreLeadingWhiteSpace": False,
    "ignoreTrailingWhiteSpace": False, "encoding": "UTF-8",
}  # fmt: skip
# The ledger of datasets with their parts elsewhere: the name of each here, and the address.
ELSEWHERE = "datasets_elsewhere.json"

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


def arrow_schema(schema: Schema) -> pa.Schema:
    """Return the kinds of the columns of a schema."""
    kinds = dict.fromkeys(schema.columns, pa.string())
    kinds |= dict.fromkeys(schema.numeric, pa.float64()) | {schema.target: pa.int8()}
    return pa.schema(kinds.items())


def dated_schema(schema: Schema) -> pa.Schema:
    """Return the kinds of the columns of dated rows: the day as a number, and that of leaving."""
    of_leaving = pa.string() if schema.status_columns else pa.float64()
    more = {schema.as_of: pa.int64()} | dict.fromkeys(schema.leaving_names, of_leaving)
    kinds = arrow_schema(schema)
    return pa.schema((dict(zip(kinds.names, kinds.types, strict=True)) | more).items())


def read(session: SparkSession, address: str, file_format: str, schema: Schema) -> DataFrame:
    """Read parts, with an error for a damaged part."""
    if file_format == PARQUET:
        return session.read.parquet(address).select(*map(column, schema.columns))
    kinds = from_arrow_schema(arrow_schema(schema))
    # In a CSV file an empty text looks like a missing text. Numbers are left as they are.
    return session.read.csv(address, kinds, mode="FAILFAST", **CSV_OPTIONS).fillna("")


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
    ledger = kept_lists.read(
        folder / ELSEWHERE, dict[str, str], error=DatasetError,
        title="the addresses at which datasets have their parts",
        remedy="Remove it, and those parts when their datasets are gone here.",
    )  # fmt: skip
    return ledger or {}


def delete_forgotten(session: SparkSession, folder: Path) -> None:
    """Delete the parts elsewhere of datasets removed by retention or lost by a killed run."""
    ledger = read_ledger(folder)
    gone = [name for name in ledger if not (folder / name).exists()]
    for name in gone:
        delete(session, ledger[name])
        log.info("Removed the parts of %s from %s.", name, ledger[name])
    if gone:
        kept = {name: ledger[name] for name in ledger if name not in gone}
        kept_lists.write(folder / ELSEWHERE, kept)


def to_pandas(rows: DataFrame, schema: Schema, order: Sequence[str]) -> pd.DataFrame:
    """Collect rows in an order as a table of the pandas engine."""
    found = rows.orderBy(*map(column, order)).toArrow()
    columns = {name: found[name].to_pandas().to_numpy() for name in schema.columns}
    return dataset.make_table(columns, schema)


def identify(rows: DataFrame, schema: Schema) -> Identity:
    """Compute the identity of rows from sums of their hashes, independent of the order."""
    kinds = pa.schema([(name, pa.int64()) for name in ("rows", "plain", "mixed")])

    def work(batches: Batches) -> Iterator[pa.Table]:
        """Yield the number of rows, and the sums of their hashes, plain and mixed."""
        for part in map(pl.DataFrame, batches):
            plain = dataset_scan.hash_rows(part, schema)
            mixed = deduplicate.mix(plain, plain >> np.uint64(1))
            sums = [hashes.view(np.int64).sum() for hashes in (plain, mixed)]
            yield pa.Table.from_pylist([dict(zip(kinds.names, [part.height, *sums], strict=True))])

    sums = cluster.map_batches(rows, work, kinds).toArrow()
    # Sums of hashes go beyond 64 bits, of which the lowest count.
    n_rows, total, product = (int(part.to_numpy().sum()) % 2**64 for part in sums.columns)
    text = f"{n_rows} {total} {product} {list(schema.columns)}"
    return Identity(files.digest(text.encode()), n_rows)


def check_visible(folder: Path) -> None:
    """Refuse a folder of parts that the cluster wrote out of the sight of this machine.

    Raises
    ------
    ClusterError
        If there are no parts.
    """
    if not (folder / SUCCESS).exists() or not any(folder.glob("part-*")):
        raise ClusterError(
            f"The cluster wrote a dataset, but {folder} has no parts of it here: the workers"
            f" must see {folder.parent} at the same path, on a file system that all share; or"
            " name one of the cluster's own in engine.dataset_address."
        )


def write_dataset(rows: DataFrame, path: Path, schema: Schema, engine: EngineSettings) -> Identity:
    """Write a dataset as parts, complete or not at all by a final rename.

    The folder has the parts, or the identity alone for parts elsewhere. The identity is that of the
    parts as read back.
    """
    files.make_folder(path.parent)
    delete_forgotten(rows.sparkSession, path.parent)
    temporary = path.with_name(files.temporary_name(path.name))
    elsewhere = ""
    if engine.dataset_address:
        elsewhere = f"{engine.dataset_address.rstrip('/')}/{path.stem}"
        # Before the parts are there, for cleaning up after a killed run.
        ledger = read_ledger(path.parent) | {path.name: elsewhere}
        kept_lists.write(path.with_name(ELSEWHERE), ledger)
    options = CSV_OPTIONS if engine.dataset_format == CSV else {}
    writer = rows.write.mode("overwrite").format(engine.dataset_format).options(**options)
    writer.save(elsewhere or address_of(temporary))
    if not elsewhere:
        check_visible(temporary)
    address = elsewhere or escape(address_of(temporary))
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


def collect_labels(
    engine: EngineSettings, path: Path, schema: Schema, wanted: NameFilter
) -> KnownLabels:
    """Collect the labels of the wanted clients from a dataset in parts.

    Of labels known at the same moment the last counts, which then is the exit.
    """

    def work(batches: Batches) -> Iterator[pa.Table]:
        """Yield the rows of wanted clients."""
        for batch in batches:
            names = dataset.client_names(batch.select(schema.client_ids).to_pandas(), schema)
            is_wanted = pa.array(wanted.matches(hash_names(names.tolist())))
            yield pa.Table.from_batches([batch.filter(is_wanted)])

    with cluster.open_cluster(engine) as session:
        rows = read_parts(session, path, schema)
        found = cluster.map_batches(rows, work, arrow_schema(schema))
        table = to_pandas(found, schema, (schema.target, *schema.columns))
    return dataset.collect_labels([table], schema, wanted)
