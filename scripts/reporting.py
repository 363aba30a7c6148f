"""Draws what a person wants to see of the model in production."""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from pandas import DataFrame
from sqlalchemy.engine import Engine

from scripts import (
    artifacts,
    bulletin,
    canvas,
    charts,
    columnhistory,
    curves,
    database,
    dataset,
    durable,
    effectchart,
    evaluation,
    gallery,
    past,
    timelines,
)
from scripts.artifacts import Kind
from scripts.bulletin import Facts
from scripts.canvas import Drawing
from scripts.config import Config
from scripts.console import run_as_script
from scripts.curves import Judged
from scripts.errors import NotMadeYetError
from scripts.evaluation import Evaluation
from scripts.gallery import Chart
from scripts.past import Past, Story
from scripts.release import Release
from scripts.run_context import RunContext

log = logging.getLogger(__name__)


class Diagnosed(msgspec.Struct, frozen=True):
    """What a report takes from the diagnostics."""

    outdated_dependencies: str


def read_records(config: Config, engine: Engine | None, current: Release) -> tuple[Past, Story]:
    """Read what the records tell, opening them unless they are open; nothing without records."""
    stamp = current.manifest.model_stamp
    opened = (
        database.open_records(config.database_url, may_change=False)
        if engine is None
        else contextlib.nullcontext(engine)
    )
    try:
        with opened as known, database.reading(known) as connection:
            return past.read(connection), past.read_story(connection, current.name, stamp)
    except NotMadeYetError:
        return past.NOTHING, past.NO_STORY


def render(drawing: Drawing) -> tuple[Chart, bytes]:
    """Render a picture, and say what the index says of it."""
    content = canvas.render_svg(drawing)
    chart = Chart(
        name=drawing.name,
        file=gallery.name_file(drawing.name, content),
        title=drawing.title,
        alt=drawing.alt,
        width=drawing.width,
        height=drawing.height,
        page=drawing.page,
        column=drawing.column,
    )
    return chart, content


def write_confusion_matrix(config: Config, drawing: Drawing, header: str) -> Path:
    """Write the confusion matrix as the picture that people hand around."""
    picture = canvas.render_png(canvas.draw(drawing, canvas.LIGHT, header))
    return durable.write_whole(config.output_model_path / artifacts.CONFUSION_MATRIX, picture)


def write_gallery(config: Config, drawings: Sequence[Drawing], current: Release) -> Path:
    """Write the charts that the service shows."""
    pictures = [render(drawing) for drawing in drawings]
    return gallery.write(config.output_model_path, pictures, datetime.now(UTC), current.name)


def draw_model(current: Release, table: DataFrame, measured: Evaluation) -> list[Drawing]:
    """Draw how good the production model is on the test rows, and what moves it."""
    used = current.model
    y, (_, probability) = dataset.target(table, used.schema), evaluation.predict_table(used, table)
    judged = Judged(y, probability, used.threshold, current.name)
    return [
        curves.roc(judged, measured.roc_auc),
        curves.precision_recall(judged),
        curves.calibration(judged),
        effectchart.draw_model(used, current.name),
        curves.gains(judged),
    ]


def draw_past(current: Release, before: Past) -> list[Drawing]:
    """Draw what changed over the runs."""
    kept = current.model.dataset.reference
    categories = {} if kept is None else kept.categorical
    drift = columnhistory.draw_drift(before)
    return [
        timelines.f1_history(before),
        *([] if drift is None else [drift]),
        *columnhistory.draw_columns(before, categories),
    ]


def read_packages(config: Config) -> str:
    """Read which packages are outdated from the last diagnostics."""
    path = config.prod_deployment_path / artifacts.DIAGNOSTICS
    try:
        return msgspec.json.decode(path.read_bytes(), type=Diagnosed).outdated_dependencies
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return "Not known: run python -m scripts.diagnostics."


def write_report(config: Config, facts: Facts, drawings: Sequence[Drawing]) -> Path:
    """Write the report under the name of its moment."""
    stamp = f"{facts.made_at:{artifacts.STAMP_FORMAT}}"
    path = Kind.REPORT.path(config.output_model_path, stamp)
    return durable.write_whole(path, bulletin.write(facts, drawings))


def main(
    config: Config,
    *,
    engine: Engine | None = None,
    pdf: bool = False,
    durations_s: Mapping[str, float] | None = None,
    context: RunContext | None = None,
) -> Path:
    """Draw the model in production: its confusion matrix, the charts of the pages, the report.

    Parameters
    ----------
    config : Config
        The installation.
    engine : sqlalchemy.engine.Engine, optional
        Of the records, if they are open.
    pdf : bool
        Write the report, too.
    durations_s : mapping of str to float, optional
        How long the steps of this run took.
    context : RunContext, optional
        Of the run.

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
    current = context.current_release()
    if current is None:
        raise NotMadeYetError("Nothing is in production yet; run python -m scripts.fullprocess.")
    schema = current.model.schema
    table, _ = context.test_data.read(schema)
    measured = evaluation.evaluate_model(current.model, table)
    before, story = read_records(config, engine, current)
    matrix = charts.confusion_matrix(measured, schema, current.name)
    drawings = [matrix, *draw_model(current, table, measured), *draw_past(current, before)]
    f1 = "undefined" if measured.f1 is None else f"{measured.f1:.3f}"
    header = f"Model {current.manifest.model_stamp}\nF1 {f1} on {measured.n_rows} test rows"
    path = write_confusion_matrix(config, matrix, header)
    log.info("Drew the confusion matrix of release %s to %s.", current.name, path)
    index = write_gallery(config, drawings, current)
    log.info("Drew %d charts to %s.", len(drawings), index.parent)
    if pdf:
        stamp = artifacts.next_stamp(datetime.now(UTC), [config.output_model_path])
        facts = Facts(
            made_at=artifacts.moment_of(stamp),
            current=current,
            measured=measured,
            story=story,
            durations_s=durations_s,
            packages=read_packages(config),
            input_folder=config.input_folder_path.name,
        )
        path = write_report(config, facts, drawings)
        log.info("Wrote the report to %s.", path)
    return path


if __name__ == "__main__":
    pdf_option = click.Option(["--pdf"], is_flag=True, help="Write the report as PDF, too.")
    run_as_script(main, exclusive=True, options=[pdf_option])
