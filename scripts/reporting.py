"""Draws what a person wants to see of the model in production."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pandas import DataFrame
from sqlalchemy.engine import Engine

from scripts import (
    artifacts,
    canvas,
    charts,
    columnhistory,
    curves,
    database,
    dataset,
    effectchart,
    evaluation,
    gallery,
    past,
    release,
    timelines,
)
from scripts.canvas import Drawing
from scripts.config import Config
from scripts.console import run_as_script
from scripts.curves import Judged
from scripts.errors import NotMadeYetError
from scripts.evaluation import Evaluation
from scripts.gallery import Chart
from scripts.past import Past
from scripts.release import Release

log = logging.getLogger(__name__)


def read_past(config: Config, engine: Engine | None) -> Past:
    """Read what the records tell, opening them unless they are open; nothing without records."""
    if engine is not None:
        with database.reading(engine) as connection:
            return past.read(connection)
    try:
        with (
            database.open_records(config.database_url, may_change=False) as opened,
            database.reading(opened) as connection,
        ):
            return past.read(connection)
    except NotMadeYetError:
        return past.NOTHING


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
    return artifacts.write_whole(config.output_model_path / artifacts.CONFUSION_MATRIX, picture)


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
    return [timelines.f1_history(before), *columnhistory.draw_columns(before, categories)]


def main(config: Config, *, engine: Engine | None = None) -> Path:
    """Draw the model in production: its confusion matrix, and the charts of the dashboard."""
    current = release.load_current(config.prod_deployment_path)
    if current is None:
        raise NotMadeYetError("Nothing is in production yet; run python -m scripts.fullprocess.")
    schema = current.model.schema
    table, _ = dataset.read_test_table(config.test_data_path, schema)
    measured = evaluation.evaluate_model(current.model, table)
    before = read_past(config, engine)
    matrix = charts.confusion_matrix(measured, schema, current.name)
    f1 = "undefined" if measured.f1 is None else f"{measured.f1:.3f}"
    header = f"Model {current.manifest.model_stamp}\nF1 {f1} on {measured.n_rows} test rows"
    path = write_confusion_matrix(config, matrix, header)
    log.info("Drew the confusion matrix of release %s to %s.", current.name, path)
    drawings = [matrix, *draw_model(current, table, measured), *draw_past(current, before)]
    index = write_gallery(config, drawings, current)
    log.info("Drew %d charts to %s.", len(drawings), index.parent)
    return path


if __name__ == "__main__":
    run_as_script(main, exclusive=True)
