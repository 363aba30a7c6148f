"""Draws what a person wants to see of the model in production."""

import io
import logging
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from scripts import artifacts, dataset, evaluation, release
from scripts.config import Config
from scripts.console import run_as_script
from scripts.errors import NotMadeYetError
from scripts.evaluation import Evaluation

LABELS = ("not exited", "exited")

log = logging.getLogger(__name__)


def spell_cell(count: int, total: int) -> str:
    """Spell a count and, below it, its percentage of the row's total."""
    return f"{count}\n{count / total:.1%}" if total else f"{count}\n-"


def plot_confusion_matrix(measured: Evaluation, title: str) -> Figure:
    """Draw the four counts of a confusion matrix with the percentage of each row.

    Parameters
    ----------
    measured : Evaluation
        The counts.
    title : str
        One or two lines.

    Returns
    -------
    matplotlib.figure.Figure
        Rows are what happened, columns what was predicted.
    """
    counts = np.array(
        [
            [measured.n_true_negatives, measured.n_false_positives],
            [measured.n_false_negatives, measured.n_true_positives],
        ]
    )
    # A row without clients has no percentages; its cells stay white.
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    texts = np.array([[spell_cell(count, row.sum()) for count in row] for row in counts])
    figure = Figure(figsize=(5.6, 4.8), layout="constrained")
    axes = figure.subplots()
    sns.heatmap(
        fractions, annot=texts, fmt="", vmin=0, vmax=1, cmap="Blues", square=True, ax=axes,
        xticklabels=LABELS, yticklabels=LABELS, annot_kws={"fontsize": 15}, linewidths=1,
        cbar_kws={"label": "share of the row"},
    )  # fmt: skip
    axes.set_xlabel("predicted", fontsize=12)
    axes.set_ylabel("actual", fontsize=12)
    axes.set_title(title, fontsize=11)
    return figure


def render_png(figure: Figure) -> bytes:
    """Render a figure; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def main(config: Config) -> Path:
    """Draw the confusion matrix of the production model on the test data."""
    current = release.load_current(config.prod_deployment_path)
    if current is None:
        raise NotMadeYetError("Nothing is in production yet; run python -m scripts.fullprocess.")
    table, _ = dataset.read_test_table(config.test_data_path, current.model.schema)
    measured = evaluation.evaluate_model(current.model, table)
    f1 = "undefined" if measured.f1 is None else f"{measured.f1:.3f}"
    title = f"Model {current.manifest.model_stamp}\nF1 {f1} on {measured.n_rows} test rows"
    path = config.output_model_path / artifacts.CONFUSION_MATRIX
    artifacts.write_whole(path, render_png(plot_confusion_matrix(measured, title)))
    log.info("Drew the confusion matrix of release %s to %s.", current.name, path)
    return path


if __name__ == "__main__":
    run_as_script(main, exclusive=True)
