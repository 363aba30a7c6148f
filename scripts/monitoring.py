"""The monitoring command: drift of the newest data and change of the F1 since deployment."""

import click

from scripts.core.config import Config
from scripts.core.console import run_as_script
from scripts.core.terminal import format_columns, wrap
from scripts.production import monitor
from scripts.production.monitor import MonitoringResult

# Shorter than the names in the records, so that the table fits a screen.
HEADINGS = {
    "missing_fraction": "blank",
    "standard_deviation": "SD",
    "drift_limit": "limit",
    "missing_drift": "blanks",
    "missing_drift_limit": "limit",
    "risk_shift": "log-odds",
}


def format_statistic(value: str | float | None) -> str:
    """Format a statistic of a column, "" if undefined."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value or ""


def format_result(result: MonitoringResult) -> str:
    """Format the result as a table, the columns by falling effect, and two sentences."""
    rows = [
        [*map(format_statistic, column.as_row().values()), "DRIFT" if column.has_drifted else ""]
        for column in result.data.columns
    ]
    rows.insert(0, [HEADINGS.get(name, name) for name in (*result.data.columns[0].as_row(), "")])
    lines = [format_columns(rows)]
    lines.append(f"Data: {monitor.describe_data(result.data)}.")
    if result.f1 is not None:
        lines.append(f"Release {result.release}: {monitor.describe_f1(result.f1)}.")
    return "\n".join(lines)


def show_result(config: Config) -> None:
    """Measure the drift of the newest data and the F1 of production since deployment."""
    click.echo(wrap(format_result(monitor.main(config))))


if __name__ == "__main__":
    run_as_script(show_result)
