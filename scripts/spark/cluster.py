"""Works on a Spark cluster: opens the session, ships this package, brings back what tasks made."""

import atexit
import logging
import os
import shutil
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from scripts.core.config import EngineSettings
from scripts.core.errors import ClusterError

PACKAGE = Path(__file__).resolve().parent.parent
MADE = "made"
MAX_SHOWN = 400
SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # Columns are named as in the files: "Age" and "age" are two.
    "spark.sql.caseSensitive": "true",
    "spark.sql.session.timeZone": "UTC",
}

log = logging.getLogger(__name__)


def zip_package(folder: Path) -> Path:
    """Pack the modules of this package, which tasks import."""
    path = folder / "adras.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for module in sorted(PACKAGE.rglob("*.py")):
            archive.write(module, module.relative_to(PACKAGE.parent))
    return path


def prepare() -> None:
    """Set what must be set before Java starts."""
    # Of pandas it gets Arrow tables only, so that its warning of pandas 3 would only be noise.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    # Tasks run under the interpreter of the same place on each worker.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # It tells of each connection that it closes, long after a run has said how it ended.
    logging.getLogger("py4j").setLevel(logging.WARNING)


def open_hadoop() -> tuple[Any, Any]:
    """Give Java and the settings of Hadoop, as `spark-defaults.conf` has them.

    A session that is opened later goes on in the same Java. Without one, no core of the cluster is
    taken, which a run with nothing new must not do every ten minutes.
    """
    prepare()
    # What a session does first; there is no public name for it alone.
    SparkContext._ensure_initialized()
    jvm: Any = SparkContext._jvm
    settings = jvm.org.apache.spark.SparkConf(True)
    return jvm, jvm.org.apache.spark.deploy.SparkHadoopUtil.get().newConfiguration(settings)


def open_session(engine: EngineSettings) -> SparkSession:
    """Open the session of this process, or give the one that is open.

    What is not set here (memory, cores, keys of an object store) comes from Spark's own
    `spark-defaults.conf`.
    """
    existing = SparkSession.getActiveSession()
    if existing is not None:
        return existing
    prepare()
    builder = SparkSession.builder.appName("adras").master(engine.master)
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    # Workers fetch it when they come, also late, so it stays as long as this process.
    folder = tempfile.mkdtemp(prefix="adras-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    session.sparkContext.addPyFile(str(zip_package(Path(folder))))
    log.info("Opened a session on %s.", engine.master)
    return session


def close_session() -> None:
    """Give the cluster's cores back; nothing happens without a session."""
    existing = SparkSession.getActiveSession()
    if existing is not None:
        existing.stop()


def shorten_cause(error: Exception) -> str:
    """Say in one line what Java said in many: the innermost cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
    causes = [line for line in lines if line.startswith(("Caused by:", ":"))]
    return (causes or lines)[-1][:MAX_SHOWN].strip(" .:")


@contextmanager
def working(engine: EngineSettings) -> Iterator[SparkSession]:
    """Give the session; what Spark does not succeed in is an expected failure."""
    try:
        yield open_session(engine)
    except (PySparkException, Py4JError) as error:
        raise ClusterError(
            f"Spark on {engine.master} failed: {shorten_cause(error)}. Look at the cluster and at"
            ' the logs of its workers; README, section "A cluster", says what it must have.'
        ) from error


def column(name: str) -> Column:
    """Name a column as it stands, also one with a dot or a backtick in its name."""
    return F.col("`{}`".format(name.replace("`", "``")))


def aggregate(rows: DataFrame, asked: list[Column]) -> list[Any]:
    """Compute several numbers of all rows in one pass."""
    named = [one.alias(str(place)) for place, one in enumerate(asked)]
    (found,) = rows.agg(*named).collect()
    return list(found)


def gather(rows: DataFrame, work: Callable[[Iterator[pa.Table]], bytes]) -> list[bytes]:
    """Let each partition make one piece of bytes, and bring these back.

    Parameters
    ----------
    rows : pyspark.sql.DataFrame
        Any table.
    work : callable
        Takes the rows of a partition in parts; it must be picklable.

    Returns
    -------
    list of bytes
        One per partition, also of those without a row, in no order.
    """

    def work_on(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tables = (pa.Table.from_batches([batch]) for batch in batches)
        yield pa.RecordBatch.from_pydict({MADE: pa.array([work(tables)], pa.binary())})

    return [bytes(row[MADE]) for row in rows.mapInArrow(work_on, f"{MADE} binary").collect()]
