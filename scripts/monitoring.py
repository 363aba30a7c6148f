"""How the newest data and the production model differ from what they were at deployment."""

import logging

import click

from scripts.core.config import Config
from scripts.core.console import run_as_script
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

log = logging.getLogger(__name__)


def format_cell(value: str | float | None) -> str:
    """Spell a cell of the table; nothing where it is not defined."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value or ""


def format_findings(found: MonitoringResult) -> str:
    """Spell what was found as a table, those columns first that matter most, and two sentences."""
    rows = [
        [*map(format_cell, column.as_row().values()), "DRIFT" if column.has_drifted else ""]
        for column in found.data.columns
    ]
    rows.insert(0, [HEADINGS.get(name, name) for name in (*found.data.columns[0].as_row(), "")])
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines.append(f"Data: {monitor.describe_data(found.data)}.")
    if found.f1 is not None:
        lines.append(f"Release {found.release}: {monitor.describe_f1(found.f1)}.")
    return "\n".join(lines)


def show_findings(config: Config) -> None:
    """Compare the newest dataset and the F1 of production with those of its deployment."""
    click.echo(format_findings(monitor.main(config)))


if __name__ == "__main__":
    run_as_script(show_findings)
