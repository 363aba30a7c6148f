"""Which engine works on the tables, and whether it is there."""

import importlib.util

from scripts.config import Config
from scripts.errors import ConfigError


def is_cluster(config: Config) -> bool:
    """Say whether a Spark cluster works on the tables; refuse if PySpark is not installed."""
    if config.engine.name != "spark":
        return False
    if importlib.util.find_spec("pyspark") is None:
        raise ConfigError(
            "engine: Spark needs PySpark, which is not installed; python -m pip install"
            " --require-hashes -r requirements-spark.lock, and Java 17."
        )
    return True
