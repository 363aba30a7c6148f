"""The result of a backtest, and its file in the folder of the models."""

import logging
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from scripts.core import files

NAME = "backtest.json"

log = logging.getLogger(__name__)


class Measure(Struct, frozen=True, kw_only=True):
    """A figure with the 95 % interval, None where undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Period(Struct, frozen=True, kw_only=True):
    """The result of a test: its rows, and the figures of the model that predicted them.

    `precision` and `recall` are those of the `n_listed` riskiest clients of the period.
    `predicted` is the mean probability, `realised` the share of those who left.
    """

    name: str
    n_training_rows: int
    n_rows: int
    n_positives: int
    n_listed: int
    f1: Measure
    roc_auc: Measure
    log_loss: Measure
    precision: Measure
    recall: Measure
    predicted: float
    realised: Measure


class ColumnDifference(Struct, frozen=True, kw_only=True):
    """The AUC gain of a column: in the random split and over time."""

    column: str
    random_split: float
    over_time: float


class Backtest(Struct, frozen=True, kw_only=True):
    """The result of a backtest: each period, all together, the random split, the columns."""

    made_at: datetime
    horizon_days: int
    periods: tuple[Period, ...]
    together: Period
    random_split: Period
    columns: tuple[ColumnDifference, ...]


def write(output_model_path: Path, result: Backtest) -> Path:
    """Write a result, and return the path."""
    content = msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"
    return files.write_whole(output_model_path / NAME, content)


def read(output_model_path: Path) -> Backtest | None:
    """Read the last result, None before the first backtest."""
    path = output_model_path / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Backtest)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s cannot be used, which hides the backtest: %s.", path, error)
        return None
