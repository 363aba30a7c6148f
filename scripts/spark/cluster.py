"""The Spark session: opening, package for the workers, errors, and results of tasks."""

import atexit
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from scripts.core.config import EngineSettings
from scripts.core.errors import ClusterError

PACKAGE = Path(__file__).resolve().parent.parent
RESULT = "result"
MAX_CAUSE_LENGTH = 400
SETTINGS: dict[str, bool | float | int | str | None] = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # Column names as in the files: "Age" and "age" are two columns.
    "spark.sql.caseSensitive": "true",
    "spark.sql.session.timeZone": "UTC",
    # A task has one core, and there is a task per core.
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
}
Batches = Iterator[pa.RecordBatch]
Results = TypeVar("Results", bound=dict[str, Any])

log = logging.getLogger(__name__)


def prepare_java() -> None:
    """Set environment, warnings and log level before the start of Java."""
    # PySpark gets Arrow tables only, so its warning about pandas 3 is noise.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    # Tasks run under the interpreter at the same path on each worker.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # py4j logs each closed connection, long after the last message of a run.
    logging.getLogger("py4j").setLevel(logging.WARNING)


def open_hadoop() -> tuple[Any, Any]:
    """Start Java without a session, and return the JVM with Hadoop's configuration.

    The configuration is that of `spark-defaults.conf`, and a later session uses the same Java. A
    run with nothing new must not occupy cores of the cluster every ten minutes.
    """
    prepare_java()
    # The first step of opening a session, without a public name.
    SparkContext._ensure_initialized()
    jvm: Any = SparkContext._jvm
    settings = jvm.org.apache.spark.SparkConf(True)
    return jvm, jvm.org.apache.spark.deploy.SparkHadoopUtil.get().newConfiguration(settings)


def open_session(engine: EngineSettings) -> SparkSession:
    """Return the session of this process, opened on the first call.

    Other settings (memory, cores, keys of an object store) come from Spark's own
    `spark-defaults.conf`.
    """
    existing = SparkSession.getActiveSession()
    if existing is not None:
        return existing
    prepare_java()
    builder = SparkSession.builder.appName("adras").master(engine.master)
    session = builder.config(map=SETTINGS).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    # Workers fetch the package when they join, hence the file lives as long as this process.
    folder = tempfile.mkdtemp(prefix="adras-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    package = shutil.make_archive(f"{folder}/adras", "zip", PACKAGE.parent, PACKAGE.name)
    session.sparkContext.addPyFile(package)
    log.info("Opened a session on %s.", engine.master)
    return session


def close_session() -> None:
    """Stop the session, if there is one, to release the cores of the cluster."""
    existing = SparkSession.getActiveSession()
    if existing is not None:
        existing.stop()


def root_cause(error: Exception) -> str:
    """Return the innermost cause of a Java error as a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
    causes = [line for line in lines if line.startswith(("Caused by:", ":"))]
    return (causes or lines)[-1][:MAX_CAUSE_LENGTH].strip(" .:")


@contextmanager
def open_cluster(engine: EngineSettings) -> Iterator[SparkSession]:
    """Return the session as a context with ClusterError for Spark's errors."""
    try:
        yield open_session(engine)
    except (PySparkException, Py4JError) as error:
        raise ClusterError(
            f"Spark on {engine.master} failed: {root_cause(error)}. Look at the cluster and at"
            " the logs of its workers; docs/spark.md says what it must have."
        ) from error


def column(name: str) -> Column:
    """Return a column by the literal name, with dots and backticks escaped."""
    return F.col("`{}`".format(name.replace("`", "``")))


def map_batches(
    rows: DataFrame, work: Callable[[Batches], Iterator[pa.Table]], kinds: pa.Schema
) -> DataFrame:
    """Run a function on the batches of each partition, and return columns of some kinds."""
    names = rows.columns

    def run(batches: Batches) -> Batches:
        """Run the function on the batches, and select the columns."""
        for table in work(batch.rename_columns(names) for batch in batches):
            yield from table.select(kinds.names).cast(kinds).to_batches()

    # PySpark reads the names of the columns as expressions, so a name with a dot would be refused.
    numbered = rows.toDF(*map(str, range(len(names))))
    return numbered.mapInArrow(run, from_arrow_schema(kinds))


def map_partitions(
    rows: DataFrame, work: Callable[[pa.Table], pa.Table], kinds: pa.Schema
) -> DataFrame:
    """Run a function on all rows of each partition, held in the memory of a worker."""

    def run(batches: Batches) -> Iterator[pa.Table]:
        """Run the function on all rows of a partition, if any."""
        found = list(batches)
        if found:
            yield work(pa.Table.from_batches(found))

    return map_batches(rows, run, kinds)


def gather(
    rows: DataFrame, key: str, work: Callable[[Batches], Results], kind: type[Results]
) -> Results:
    """Run a function on the rows of some keys, all rows of a key in a task, and unite the results.

    The results of the keys are dicts of a kind that fits into JSON.
    """

    def run(batches: Batches) -> Iterator[pa.Table]:
        """Run the function on a partition, and return the result as a row."""
        return iter([pa.table({RESULT: [msgspec.json.encode(work(batches))]})])

    found = map_batches(rows.repartition(column(key)), run, pa.schema([(RESULT, pa.binary())]))
    united = kind()
    for result in found.toArrow()[RESULT].to_pylist():
        united |= msgspec.json.decode(result, type=kind)
    return united
