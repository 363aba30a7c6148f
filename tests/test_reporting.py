"""The confusion matrix and the charts, for a person and for the service."""

import io
import json
import re

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from scripts import reporting
from scripts.core import files
from scripts.core.config import Config, Schema
from scripts.core.errors import NotMadeYetError
from scripts.model import metrics
from scripts.production import release
from scripts.reports import chart_files, chart_style, model_charts


def plot(y: list[int], predicted: list[int], title: str = "a title") -> Figure:
    """Draw the confusion matrix of predictions."""
    truth, said = np.array(y, dtype=np.int64), np.array(predicted, dtype=np.int64)
    measured = metrics.evaluate(truth, said, said.astype(np.float64))
    return chart_style.draw(
        model_charts.confusion_matrix(measured, Schema(), "0001_x"), chart_style.LIGHT, title
    )


def texts_of(figure: Figure) -> list[str]:
    """Return the texts of the four cells, row by row."""
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_cells_hold_counts_and_percentages_of_their_row() -> None:
    # Of four who stayed three are predicted to; of three who left two are.
    figure = plot([0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1, 0])

    assert texts_of(figure) == ["3\n75.0%", "1\n25.0%", "1\n33.3%", "2\n66.7%"]


@pytest.mark.parametrize(
    ("y", "predicted", "texts"),
    [
        ([0, 0], [0, 1], ["1\n50.0%", "1\n50.0%", "0\n-", "0\n-"]),
        ([1], [1], ["0\n-", "0\n-", "0\n0.0%", "1\n100.0%"]),
        ([0], [0], ["1\n100.0%", "0\n0.0%", "0\n-", "0\n-"]),
    ],
)
def test_a_row_without_clients_has_no_percentages(
    y: list[int], predicted: list[int], texts: list[str]
) -> None:
    assert texts_of(plot(y, predicted)) == texts


def test_rows_are_what_happened_and_columns_what_was_predicted() -> None:
    figure = plot([0, 1], [0, 1], "Model x\nF1 1.000 on 2 test rows")
    axes = figure.axes[0]

    assert [label.get_text() for label in axes.get_xticklabels()] == ["not exited", "exited"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["not exited", "exited"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "actual")
    assert axes.yaxis_inverted()
    assert [text.get_text() for text in figure.texts] == ["Model x\nF1 1.000 on 2 test rows"]


def test_a_picture_is_a_png_of_readable_size_and_equal_for_equal_counts() -> None:
    first, second = (chart_style.render_png(plot([0, 1, 1], [0, 1, 0])) for _ in range(2))

    pixels = matplotlib.image.imread(io.BytesIO(first), format="png")
    assert pixels.shape[0] >= 400
    assert pixels.shape[1] >= 500
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 50
    assert first == second


def test_text_keeps_inside_the_picture_and_off_the_other_cells() -> None:
    figure = plot([0, 1] * 500_000, [0, 1] * 500_000, "Model 20261124T023856344915Z\nF1 1.000")
    figure.draw_without_rendering()
    width, height = figure.canvas.get_width_height()

    axes = figure.axes[0]
    for text in [*axes.texts, *figure.texts]:
        box = text.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height
    cell_width = axes.get_window_extent().width / 2
    assert all(text.get_window_extent().width < cell_width for text in axes.texts)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (Schema(), ("not exited", "exited")),
        (Schema(target="Churn", positive="Yes"), ("Churn = no", "Churn = yes")),
        (Schema(target="left", positive=True), ("left = false", "left = true")),
        (Schema(target="g", positive="bad", negative="good"), ("g = good", "g = bad")),
        (Schema(target="$x$ <b>", positive="1"), ("not $x$ <b>", "$x$ <b>")),
    ],
)
def test_the_classes_are_called_as_in_the_table(schema: Schema, words: tuple[str, str]) -> None:
    assert model_charts.class_names(schema) == words


def test_main_draws_the_model_in_production(
    deployed: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = []
    draw_really = chart_style.draw

    def note(drawing: chart_style.Drawing, theme: chart_style.Theme, header: str = "") -> Figure:
        headers.append(header)
        return draw_really(drawing, theme, header)

    monkeypatch.setattr(chart_style, "draw", note)

    path = reporting.main(deployed)

    current = release.load_current(deployed.prod_deployment_path)
    assert current is not None
    assert f"Model {current.manifest.model_stamp}\nF1 0.800 on 5 test rows" in headers
    assert path == deployed.output_model_path / "confusion_matrix.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_main_draws_what_the_index_lists(deployed: Config) -> None:
    reporting.main(deployed)

    index = json.loads((deployed.output_model_path / "charts" / "index.json").read_bytes())
    current = release.load_current(deployed.prod_deployment_path)
    assert current is not None
    assert index["release"] == current.name
    for chart in index["charts"]:
        content = (deployed.output_model_path / "charts" / chart["file"]).read_bytes()
        assert chart["file"] == f"{chart['name']}-{files.digest(content)[:8]}.svg"
        assert f'width="{chart["width"] * 0.75:g}pt"' in content.decode()
        assert len(chart["alt"]) > 20
        # All colours are variables, those of seaborn too.
        assert not re.search(r"#[0-9a-f]{6}", content.decode().split("</style>", 1)[1])


def test_the_words_of_the_confusion_matrix_hold_its_numbers(deployed: Config) -> None:
    reporting.main(deployed)

    read = chart_files.read(deployed.output_model_path)
    assert read is not None
    matrix = {chart.name: chart for chart in read.charts}["confusion_matrix"]
    # Of the five test rows t1, t2 and t3 left; t3, with much activity, is missed.
    assert "Of 3 that were exited, 2 were predicted and 1 missed" in matrix.alt
    assert "of 2 that were not exited, 2 were predicted and 0 were false alarms" in matrix.alt


def test_main_wants_a_model_in_production(config: Config) -> None:
    with pytest.raises(NotMadeYetError, match="Nothing is in production yet"):
        reporting.main(config)
