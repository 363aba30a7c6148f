"""Choice of the engine, and errors for a missing engine."""

import importlib.util

import msgspec
import pytest

from scripts import ingestion, scoring, training
from scripts.core import capacity
from scripts.core.config import Config, EngineSettings
from scripts.core.errors import ConfigError

SPARK = EngineSettings(name="spark", master="spark://127.0.0.1:1")


def on_spark(config: Config) -> Config:
    """Return a config with the Spark engine."""
    return msgspec.structs.replace(config, engine=SPARK)


def test_pandas_is_no_cluster(config: Config) -> None:
    assert not capacity.is_cluster(config)


@pytest.mark.parametrize("step", [ingestion.main, training.main, scoring.main])
def test_without_pyspark_every_step_names_the_package_to_install(
    deployed: Config, step: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ConfigError, match="PySpark, which is not installed; python -m pip"):
        step(on_spark(deployed))  # type: ignore[operator]
