"""The engine of a cluster refuses what only one machine does, before a cluster is asked."""

import msgspec
import pytest

from scripts.core.config import Config
from scripts.core.errors import ConfigError

pytest.importorskip("pyspark", reason="PySpark is not installed; pip install '.[spark]'")


def test_rows_over_time_are_refused_before_the_cluster_is_asked(config: Config) -> None:
    from scripts.engine.spark_engine import SparkEngine

    schema = msgspec.structs.replace(config.schema, date="as_of")
    engine = SparkEngine(config)

    with pytest.raises(ConfigError, match="schema.date is 'as_of'.*pandas engine only"):
        engine.ingest([], schema, None)
    with pytest.raises(ConfigError, match="leave out schema.date"):
        engine.infer_schema([], schema)
