"""Draws how good a model is."""

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba

from scripts import canvas
from scripts.canvas import Drawing, Look
from scripts.config import Schema
from scripts.evaluation import Evaluation

# Text stays readable on the strongest colour, in the light and in the dark.
STRONGEST = 0.45
CELL_PX = 120


def class_words(schema: Schema) -> tuple[str, str]:
    """Say what those who stayed and those who left are called in a client table."""
    negative, positive = sorted(schema.labels, key=schema.labels.__getitem__)
    if positive == "1":
        target = canvas.shorten(schema.target, 20)
        return f"not {target}", target
    target = canvas.shorten(schema.target, 14)
    return f"{target} = {canvas.shorten(negative, 8)}", f"{target} = {canvas.shorten(positive, 8)}"


def spell_number(value: float | None, digits: int = 3) -> str:
    """Spell a number that may not be defined."""
    return "undefined" if value is None else f"{value:.{digits}f}"


def spell_f1(measured: Evaluation) -> str:
    """Spell the F1 with its interval."""
    if measured.f1 is None or measured.f1_low is None or measured.f1_high is None:
        return "F1 undefined"
    return f"F1 {measured.f1:.3f} (95 % interval {measured.f1_low:.3f} to {measured.f1_high:.3f})"


def spell_cell(count: int, total: int) -> str:
    """Spell a count and, below it, its percentage of the row's total."""
    return f"{count:,}\n{count / total:.1%}" if total else f"{count:,}\n-"


def draw_confusion_matrix(
    axes: Axes, look: Look, *, counts: np.ndarray, words: tuple[str, str]
) -> None:
    """Draw the four counts of a confusion matrix with the percentage of each row."""
    # A row without clients has no percentages; its cells stay blank.
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    texts = np.array([[spell_cell(count, row.sum()) for count in row] for row in counts])
    heat = LinearSegmentedColormap.from_list(
        "heat", [to_rgba(look.accent, 0.0), to_rgba(look.accent, STRONGEST)]
    )
    labels = [canvas.fit(word, CELL_PX) for word in words]
    sns.heatmap(
        fractions, annot=texts, fmt="", vmin=0, vmax=1, cmap=heat, cbar=False, ax=axes,
        xticklabels=labels, yticklabels=labels, linewidths=1, linecolor=look.guide,
        annot_kws={"fontsize": 14, "color": look.ink},
    )  # fmt: skip
    axes.set_yticks([0.5, 1.5], labels, rotation=90, va="center")
    axes.set_xticks([0.5, 1.5], labels, rotation=0)
    axes.tick_params(colors=look.ink, labelsize=9, length=0)
    axes.set_xlabel("predicted", fontsize=9, color=look.ink)
    axes.set_ylabel("actual", fontsize=9, color=look.ink)


def confusion_matrix(measured: Evaluation, schema: Schema, release: str) -> Drawing:
    """Draw what happened, in rows, against what was predicted, in columns."""
    counts = np.array(
        [
            [measured.n_true_negatives, measured.n_false_positives],
            [measured.n_false_negatives, measured.n_true_positives],
        ]
    )
    words = class_words(schema)
    stayed, left = words
    alt = (
        f"Confusion matrix of release {release} on {measured.n_rows:,} test rows."
        f" Of {measured.n_positives:,} that were {left}, {measured.n_true_positives:,} were"
        f" predicted and {measured.n_false_negatives:,} missed; of"
        f" {measured.n_rows - measured.n_positives:,} that were {stayed},"
        f" {measured.n_true_negatives:,} were predicted and {measured.n_false_positives:,} were"
        f" false alarms. {spell_f1(measured)}."
    )

    def panel(axes: Axes, look: Look) -> None:
        draw_confusion_matrix(axes, look, counts=counts, words=words)

    title = f"Confusion matrix: F1 {spell_number(measured.f1)}, {measured.n_rows:,} rows"
    return Drawing("confusion_matrix", title, alt, "models", 480, 400, (panel,))
