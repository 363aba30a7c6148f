"""Where the parts of a dataset are, here or in an object store, and how they are spelled."""

import logging
import re
from pathlib import Path
from typing import Any

import msgspec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ByteType, DoubleType, StringType, StructField, StructType

from scripts import durable
from scripts.cluster import column
from scripts.config import Schema
from scripts.errors import DatasetError

PARQUET, CSV = "parquet", "csv"
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
    durable.write_whole(folder / ELSEWHERE, msgspec.json.encode(ledger, order="sorted"))


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
