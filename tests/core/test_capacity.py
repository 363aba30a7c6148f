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


@pytest.mark.parametrize(
    ("max_rows", "width", "gigabytes", "expected"),
    [
        (1_000_000, 3, None, 1_000_000),
        (None, 3, None, None),
        (1_000_000, 3, 1.0, 1_000_000),
        # Of 500 MB the libraries and the scan leave 150 MB: 64 bytes per row and column.
        (1_000_000, 3, 0.5, 781_250),
        (None, 3, 0.5, 781_250),
        (1_000_000, 1_000, 0.4, capacity.LEAST_ROWS),
        (5_000, 1_000, 0.4, 5_000),
    ],
)
def test_a_limit_of_memory_limits_the_rows_to_draw(
    max_rows: int | None, width: int, gigabytes: float | None, expected: int | None
) -> None:
    settings = EngineSettings(memory_limit_gb=gigabytes)

    assert capacity.limit_rows(max_rows, width, settings) == expected
