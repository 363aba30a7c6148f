"""The reporting step: charts and a PDF report of the model in production."""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click
from pandas import DataFrame
from sqlalchemy.engine import Connection, Engine

from scripts.clients import manager_summary
from scripts.core import artifacts, files
from scripts.core.artifacts import Kind
from scripts.core.column_words import ColumnWords, words_of
from scripts.core.config import Config
from scripts.core.console import run_as_script
from scripts.core.errors import DatasetError, NotMadeYetError
from scripts.data import dataset
from scripts.model import gain, metrics
from scripts.model.gain import GainTerms
from scripts.model.metrics import Evaluation
from scripts.production import backtest_file, card_records, client_values, model_card
from scripts.production.manager_types import ManagerFacts
from scripts.production.model_card import CardRecords
from scripts.production.release import Release
from scripts.production.run_context import RunContext
from scripts.records import clients, database, run_details, scoring_records
from scripts.records.run_details import MeasurementHistory, ReleaseHistory
from scripts.reports import (
    backtest_chart,
    chart_files,
    chart_style,
    history_charts,
    model_charts,
    pdf_report,
    profit_chart,
)
from scripts.reports.chart_files import Chart
from scripts.reports.chart_style import Drawing
from scripts.reports.model_charts import ScoredTestRows
from scripts.reports.pdf_report import ReportFacts
from scripts.reports.profit_chart import TestedProfit, TodaysProfit

log = logging.getLogger(__name__)


class RecordedFacts(NamedTuple):
    """Facts of the records: histories of runs and release, profit, card, and manager's page."""

    measurements: MeasurementHistory
    history: ReleaseHistory
    todays: TodaysProfit | None
    card: CardRecords
    manager: ManagerFacts | None = None


def read_profit(connection: Connection) -> TodaysProfit | None:
    """Read the profit of today's list by length, None without gains."""
    scoring = scoring_records.last_scoring(connection)
    facts = None if scoring is None else scoring["gain_facts"]
    if scoring is None or facts is None:
        return None
    terms = GainTerms(**{name: facts[name] for name in GainTerms.__struct_fields__})
    curve = profit_chart.curve_of_list(*clients.read_gains(connection, scoring), terms)
    best = facts["best"]
    return TodaysProfit(curve, terms, (best["n_clients"], best["low"], best["high"]))


def read_records(
    config: Config, engine: Engine | None, current: Release, *, pdf: bool
) -> RecordedFacts:
    """Read the facts of the records, empty without records, with the manager's facts for a PDF."""
    stamp = current.manifest.model_stamp
    opened = (
        database.open_records(config.database_url, may_change=False)
        if engine is None
        else contextlib.nullcontext(engine)
    )
    try:
        with opened as known, database.reading(known) as connection:
            return RecordedFacts(
                run_details.read_measurements(connection),
                run_details.read_release_history(connection, current.name, stamp),
                read_profit(connection),
                card_records.read_card(connection, current.name, stamp),
                manager_summary.summarise(connection, config) if pdf else None,
            )
    except NotMadeYetError:
        return RecordedFacts(
            run_details.NO_MEASUREMENTS, run_details.NO_RELEASE_HISTORY, None, CardRecords()
        )


def render(drawing: Drawing) -> tuple[Chart, bytes]:
    """Render a drawing as SVG, with the entry of the index."""
    content = chart_style.render_svg(drawing)
    chart = Chart(
        name=drawing.name,
        file=chart_files.name_file(drawing.name, content),
        title=drawing.title,
        alt=drawing.alt,
        width=drawing.width,
        height=drawing.height,
        page=drawing.page,
        column=drawing.column,
    )
    return chart, content


def write_confusion_matrix(config: Config, drawing: Drawing, header: str) -> Path:
    """Write the confusion matrix as a PNG file."""
    picture = chart_style.render_png(chart_style.draw(drawing, chart_style.LIGHT, header))
    return files.write_whole(config.output_model_path / artifacts.CONFUSION_MATRIX, picture)


def write_gallery(config: Config, drawings: Sequence[Drawing], current: Release) -> Path:
    """Write the charts of the pages."""
    pictures = [render(drawing) for drawing in drawings]
    return chart_files.write(config.output_model_path, pictures, datetime.now(UTC), current.name)


def draw_model(
    current: Release, table: DataFrame, measured: Evaluation, words: ColumnWords
) -> list[Drawing]:
    """Draw the charts of the production model: quality on the test rows, and effects."""
    model = current.model
    y, (_, probability) = dataset.target(table, model.schema), metrics.predict_table(model, table)
    scored = ScoredTestRows(y, probability, model.threshold, current.name)
    return [
        model_charts.roc(scored, measured.roc_auc),
        model_charts.precision_recall(scored),
        model_charts.calibration(scored),
        model_charts.effects(model, current.name, words),
        model_charts.gains(scored),
    ]


def draw_profit(
    context: RunContext, current: Release, todays: TodaysProfit | None
) -> list[Drawing]:
    """Draw the profit of the list by length, if the worth of a client is declared."""
    costs = context.config.worklist.costs
    if costs is None:
        return []
    tested = None
    try:
        table, value = client_values.read_test_values(context, current.model)
        y = dataset.target(table, current.model.schema)
        tested = TestedProfit(y, metrics.predict_table(current.model, table)[1], value)
    except DatasetError as error:
        log.warning("The profit on the test data is not drawn: %s", error)
    # A cluster may have been asked for the worth, and is not needed any longer.
    context.engine.close()
    terms = gain.as_terms(costs) if todays is None else todays.terms
    drawn = profit_chart.profit(todays, tested, terms, current.name)
    return [] if drawn is None else [drawn]


def draw_history(
    current: Release, measurements: MeasurementHistory, words: ColumnWords
) -> list[Drawing]:
    """Draw the charts over the runs: F1, drift and columns."""
    reference = current.model.dataset.reference
    categories = {} if reference is None else reference.categorical
    drift = history_charts.draw_drift(measurements, words)
    return [
        history_charts.f1_history(measurements),
        *([] if drift is None else [drift]),
        *history_charts.draw_columns(measurements, categories, words),
    ]


def write_report(config: Config, facts: ReportFacts, drawings: Sequence[Drawing]) -> Path:
    """Write the PDF report under the name of the time stamp."""
    stamp = f"{facts.made_at:{artifacts.STAMP_FORMAT}}"
    path = Kind.REPORT.path(config.output_model_path, stamp)
    return files.write_whole(path, pdf_report.write(facts, drawings))


def main(
    config: Config,
    *,
    engine: Engine | None = None,
    pdf: bool = False,
    durations_s: Mapping[str, float] | None = None,
    context: RunContext | None = None,
) -> Path:
    """Draw the confusion matrix, the charts of the pages and the report of the production model.

    Parameters
    ----------
    config : Config
        The installation.
    engine : sqlalchemy.engine.Engine, optional
        The records, if open already.
    pdf : bool
        Write the report, too.
    durations_s : mapping of str to float, optional
        The durations of this run's steps.
    context : RunContext, optional
        The context of the run.

    Returns
    -------
    Path
        The confusion matrix, or the report if there is one.

    Raises
    ------
    NotMadeYetError
        If nothing is in production.
    """
    context = context or RunContext(config)
    current = context.require_release()
    schema = current.model.schema
    table, _ = context.test_data.read(schema)
    measured = metrics.evaluate_model(current.model, table)
    recorded = read_records(config, engine, current, pdf=pdf)
    words = words_of(config.schema)
    matrix = model_charts.confusion_matrix(measured, schema, current.name)
    tested = backtest_file.read(config.output_model_path)
    drawings = [
        matrix,
        *draw_model(current, table, measured, words),
        *([] if tested is None else [backtest_chart.backtest(tested)]),
        *draw_profit(context, current, recorded.todays),
        *draw_history(current, recorded.measurements, words),
    ]
    f1 = "undefined" if measured.f1 is None else f"{measured.f1:.3f}"
    header = f"Model {current.manifest.model_stamp}\nF1 {f1} on {measured.n_rows} test rows"
    path = write_confusion_matrix(config, matrix, header)
    log.info("Drew the confusion matrix of release %s to %s.", current.name, path)
    index = write_gallery(config, drawings, current)
    log.info("Drew %d charts to %s.", len(drawings), index.parent)
    if pdf:
        stamp = artifacts.next_stamp(datetime.now(UTC), [config.output_model_path])
        facts = ReportFacts(
            made_at=artifacts.moment_of(stamp),
            current=current,
            measured=measured,
            history=recorded.history,
            durations_s=durations_s,
            input_folder=config.input_folder_path.name,
            manager=recorded.manager,
            words=words,
            card=model_card.make_card(config, current, recorded.card),
        )
        path = write_report(config, facts, drawings)
        log.info("Wrote the report to %s.", path)
    return path


if __name__ == "__main__":
    pdf_option = click.Option(["--pdf"], is_flag=True, help="Write the report as PDF, too.")
    run_as_script(main, exclusive=True, options=[pdf_option])
