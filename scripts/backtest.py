"""The backtest command: predictions a model would have made month by month, and the outcomes."""

import logging
from datetime import UTC, datetime

import click

from scripts import ingestion
from scripts.core import files, terminal
from scripts.core.config import Config
from scripts.core.console import run_as_script
from scripts.core.errors import ConfigError
from scripts.data import read_report
from scripts.production import backtest, backtest_file
from scripts.production.backtest_file import Backtest, Measure, Period
from scripts.production.run_context import RunContext

HEADER = (
    "test", "trained on", "rows", "left", "F1", "AUC", "log loss", "precision", "recall",
    "predicted", "realised",
)  # fmt: skip
N_COLUMNS = 5

log = logging.getLogger(__name__)


def format_measure(measure: Measure) -> str:
    """Format a figure with the interval."""
    if measure.value is None:
        return "-"
    if measure.low is None or measure.high is None:
        return f"{measure.value:.3f}"
    return f"{measure.value:.3f} ({measure.low:.3f} to {measure.high:.3f})"


def format_period(period: Period) -> tuple[str, ...]:
    """Format a test as a row of the table."""
    measures = (period.f1, period.roc_auc, period.log_loss, period.precision, period.recall)
    counts = (period.n_training_rows, period.n_rows, period.n_positives)
    return (
        period.name, *map(str, counts), *map(format_measure, measures),
        f"{period.predicted:.3f}", format_measure(period.realised),
    )  # fmt: skip


def format_added(area: float) -> str:
    """Format the AUC that a column adds, without a minus before zero."""
    return f"{round(area, 3) + 0.0:+.3f}"


def format_columns(result: Backtest) -> str:
    """Format the columns with more AUC in a random split than in the months to come."""
    rows = [
        (c.column, format_added(c.random_split), format_added(c.over_time))
        for c in result.columns[:N_COLUMNS]
    ]
    return terminal.format_columns([("column", "AUC, random split", "AUC, over time"), *rows])


def format_result(result: Backtest) -> str:
    """Format the result as tables and a sentence."""
    table = terminal.format_columns(
        [HEADER, *map(format_period, (*result.periods, result.together, result.random_split))]
    )
    return (
        f"{table}\n\nPrecision and recall are those of the {result.periods[-1].n_listed} riskiest"
        " clients of a period.\nColumns that promise more on clients of the same months than they"
        f" keep in the next:\n\n{format_columns(result)}"
    )


def show_backtest(config: Config, *, seed: int) -> None:
    """Predict each month with a model of the data known before, and compare with the outcomes."""
    if not config.schema.date:
        raise ConfigError(
            "A backtest needs schema.date: the column that says as of when a row is."
            " docs/own-data.md has an example."
        )
    context = RunContext(config)
    paths = ingestion.find_input(config)
    files.check_has_tables(paths, config.input_folder_path)
    schema = ingestion.choose_schema(context, paths)
    read = context.engine.read_mature(paths, schema)
    read_report.log_readings(read.readings)
    if read.share < 1:
        log.warning(
            "The backtest is of %.1f%% of the clients, drawn by the key: more do not fit into"
            " memory.", 100 * read.share,
        )  # fmt: skip
    context.engine.close()
    result = backtest.main(read.rows, schema, config, datetime.now(UTC), seed)
    terminal.echo(format_result(result))
    path = backtest_file.write(config.output_model_path, result)
    log.info("Wrote the backtest to %s.", path)


if __name__ == "__main__":
    seed_option = click.Option(
        ["--seed"], type=click.IntRange(0), default=0, show_default=True,
        help="Seed of the random split and of the intervals.",
    )  # fmt: skip
    run_as_script(show_backtest, options=[seed_option])
