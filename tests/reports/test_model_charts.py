"""The charts of a model: points by hand, numbers in the text alternative, empty cases."""

import warnings

import numpy as np
import pytest

from scripts.core.column_words import ColumnWords
from scripts.core.config import ColumnLabel, Schema
from scripts.data.profile import DatasetFacts
from scripts.model import outcome_metrics
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm
from scripts.reports import chart_style, model_charts
from scripts.reports.chart_style import Drawing
from scripts.reports.model_charts import ScoredTestRows

# Ten clients, the riskiest first; the first, second and fifth left.
Y = [1, 1, 0, 0, 1, 0, 0, 0, 0, 0]
P = [0.95, 0.85, 0.75, 0.65, 0.55, 0.45, 0.35, 0.25, 0.15, 0.05]


def scored(
    y: list[int] = Y, probability: list[float] = P, threshold: float = 0.7
) -> ScoredTestRows:
    """Make scored test rows."""
    return ScoredTestRows(np.array(y, dtype=np.int64), np.array(probability), threshold, "0001_x")


def line_of(drawing: Drawing, label: str) -> tuple[list[float], list[float]]:
    """Return the points of a drawn line."""
    axes = chart_style.draw(drawing, chart_style.LIGHT).axes[0]
    line = next(line for line in axes.lines if line.get_label() == label)
    return list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))  # type: ignore[arg-type]


def test_the_point_of_the_threshold_is_where_the_counts_put_it() -> None:
    # From 0.7 up three are predicted to leave: two do, of three; one of seven is a false alarm.
    roc, recall = model_charts.roc(scored(), 0.9), model_charts.precision_recall(scored())

    points = [np.ravel(line_of(drawing, "threshold")) for drawing in (roc, recall)]
    assert points[0].tolist() == pytest.approx([1 / 7, 2 / 3])
    assert points[1].tolist() == pytest.approx([2 / 3, 2 / 3])


def test_a_threshold_that_nobody_reaches_lists_nobody() -> None:
    x, y = line_of(model_charts.roc(scored(threshold=0.99), 0.9), "threshold")

    assert (x, y) == ([0.0], [0.0])


def test_the_words_hold_the_numbers() -> None:
    roc, recall = model_charts.roc(scored(), 20 / 21), model_charts.precision_recall(scored())

    assert "area under it is 0.952" in roc.alt
    assert "At the threshold 0.700, 66.7% of those who leave are caught" in roc.alt
    assert "false alarms for 14.3% of those who stay" in roc.alt
    assert "release 0001_x on 10 test rows, 3 of them positive" in recall.alt
    assert "66.7% of those predicted to leave do; by chance it would be 30.0%" in recall.alt


def test_gains_are_the_share_of_exits_among_the_riskiest() -> None:
    x, y = line_of(model_charts.gains(scored()), "production")

    assert x == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1])
    assert y == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 1, 1, 1, 1, 1, 1])


def test_gains_agree_with_what_the_worklist_says() -> None:
    rng = np.random.default_rng(5)
    rows = ScoredTestRows((rng.random(500) < 0.3).astype(np.int64), rng.random(500), 0.5, "r")

    lengths, shares = model_charts.cumulate(rows)

    for length, share in zip(lengths, shares, strict=True):
        assert share == outcome_metrics.caught_share(rows.y, rows.probability, float(length))


def test_long_curves_keep_their_head_and_are_thinned_behind_it() -> None:
    x, y = model_charts.thinned(np.arange(10_000.0), np.arange(10_000.0) ** 2)

    assert x[:200].tolist() == list(range(200))
    assert len(x) == len(y) == 400
    assert x[-1] == 9999
    assert (y == x**2).all()


def of_ranks(left: list[int], n_rows: int) -> ScoredTestRows:
    """Make rows of falling probability with exits at some ranks."""
    y = [int(rank in left) for rank in range(1, n_rows + 1)]
    return scored(y, np.linspace(1, 0, n_rows).tolist())


def test_precision_of_the_first_six_is_drawn_as_it_is() -> None:
    # The first six of 10,000 left, then nobody among fourteen, then every tenth.
    rows = of_ranks([*range(1, 7), *range(21, 10_001, 10)], 10_000)

    recall, precision = line_of(model_charts.precision_recall(rows), "production")

    n_left = 6 + 998
    assert recall[:7] == pytest.approx([n / n_left for n in (1, 2, 3, 4, 5, 6, 6)])
    assert precision[:8] == pytest.approx([1, 1, 1, 1, 1, 1, 6 / 7, 6 / 8])
    assert precision[19:21] == pytest.approx([6 / 20, 7 / 21])
    assert (recall[-1], precision[-1]) == pytest.approx((1, n_left / 10_000))


def test_the_heads_of_the_other_curves_are_drawn_point_by_point() -> None:
    rows = of_ranks([*range(1, 7), *range(21, 10_001, 10)], 10_000)

    false_alarms, caught = line_of(model_charts.roc(rows, 0.5), "production")
    lengths, gained = line_of(model_charts.gains(rows), "production")

    # Six without a false alarm, then fourteen false alarms.
    points = np.column_stack((false_alarms, caught))
    corners = [0, 6 / 1004], [14 / 8996, 6 / 1004]
    assert all(np.isclose(points, corner).all(axis=1).any() for corner in corners)
    assert lengths[:8] == pytest.approx([n / 10_000 for n in range(8)])
    assert gained[:8] == pytest.approx([n / 1004 for n in (0, 1, 2, 3, 4, 5, 6, 6)])


def test_short_curves_are_not_thinned() -> None:
    (x,) = model_charts.thinned(np.array([3.0, 1.0, 2.0]))

    assert x.tolist() == [3, 1, 2]


def test_calibration_compares_tenths_of_the_probability() -> None:
    drawing = model_charts.calibration(scored([1, 0, 0, 0], [0.92, 0.98, 0.11, 0.15]))
    x, y = line_of(drawing, "realised, 95 % interval, clients")

    assert x == pytest.approx([0.13, 0.95])
    assert y == pytest.approx([0, 0.5])
    # (0.08^2 + 0.98^2 + 0.11^2 + 0.15^2) / 4 = 1.0014 / 4
    assert "Brier score 0.250" in drawing.alt
    assert "2 with 13% predicted, 0% left; 2 with 95% predicted, 50% left" in drawing.alt


@pytest.mark.parametrize(("y", "auc"), [([0, 0, 0], None), ([1, 1, 1], None), ([0], None)])
def test_one_class_has_no_curve_and_says_so(y: list[int], auc: float | None) -> None:
    rows = scored(y, [0.5] * len(y))

    for drawing in (model_charts.roc(rows, auc), model_charts.precision_recall(rows)):
        assert model_charts.ONE_CLASS in drawing.alt
        assert model_charts.ONE_CLASS.encode() in chart_style.render_svg(drawing)


def test_without_an_exit_there_are_no_gains() -> None:
    assert model_charts.ONE_CLASS in model_charts.gains(scored([0, 0], [0.1, 0.9])).alt


def test_where_everybody_left_a_list_catches_its_length() -> None:
    x, y = line_of(model_charts.gains(scored([1, 1, 1], [0.1, 0.5, 0.9])), "production")

    assert y == pytest.approx(x)


@pytest.mark.parametrize("probability", [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
def test_probabilities_at_the_ends_are_drawn(probability: list[float]) -> None:
    rows = scored([0, 1], probability, 0.5)

    for drawing in (
        model_charts.roc(rows, 0.5),
        model_charts.gains(rows),
        model_charts.calibration(rows),
    ):
        assert chart_style.render_svg(drawing).startswith(b"<svg")


def make_model(
    numeric: tuple[NumericTerm, ...] = (), categorical: tuple[CategoricalTerm, ...] = ()
) -> Model:
    """Make a model of some terms."""
    facts = DatasetFacts(sha256="", n_rows=10, n_positives=3, missing_fractions={}, summary=())
    schema = Schema(
        ids=(), numeric=tuple(t.column for t in numeric),
        categorical=tuple(t.column for t in categorical),
    )  # fmt: skip
    return Model(
        format=2, schema=schema, numeric=numeric, categorical=categorical, intercept=0,
        threshold=0.5, dataset=facts, n_training_rows=9, settings={}, validation={}, versions={},
    )  # fmt: skip


def test_the_effects_have_the_names_for_people() -> None:
    term = NumericTerm(column="activity_30d", median=0, coefficient=1.0)
    words = ColumnWords({"activity_30d": ColumnLabel(name="Activity")})

    drawing = model_charts.effects(make_model((term,)), "0001_x", words)

    assert "Activity: 1 more" in drawing.alt


def test_the_strongest_fifteen_are_drawn_strongest_first() -> None:
    terms = tuple(
        NumericTerm(column=f"c{number}", median=0, coefficient=(-1) ** number * number)
        for number in range(1, 21)
    )
    drawing = model_charts.effects(make_model(terms), "0001_x")

    axes = chart_style.draw(drawing, chart_style.LIGHT).axes[0]
    widths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
    assert widths == [20, -19, 18, -17, 16, -15, 14, -13, 12, -11, 10, -9, 8, -7, 6]
    assert drawing.title == "Strongest effects on the risk (15 of 20)"
    assert (
        "the strongest 5 of 20: c20: 1 more +20.000; c19: 1 more -19.000; c18: 1 more"
        in drawing.alt
    )


def test_what_raises_the_risk_and_what_lowers_it_differ_in_colour() -> None:
    terms = tuple(NumericTerm(column=n, median=0, coefficient=c) for n, c in (("a", 1), ("b", -1)))

    svg = chart_style.render_svg(model_charts.effects(make_model(terms), "r")).decode()

    assert "fill: var(--warning)" in svg
    assert "fill: var(--accent)" in svg


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "$x$", "W" * 80, "größe 中文", "a\x00"]
)
def test_any_name_of_a_column_fits(name: str) -> None:
    term = CategoricalTerm(column=name, categories=(name,), coefficients=(0.5,))
    drawing = model_charts.effects(make_model((), (term,)), "r")

    figure = chart_style.draw(drawing, chart_style.LIGHT)
    with warnings.catch_warnings():
        # The measure of a glyph that this machine does not have is that of a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        boxes = [t.get_window_extent() for t in figure.axes[0].texts]

    assert all(box.x0 >= -3 and box.x1 <= figure.bbox.width for box in boxes)
    assert chart_style.render_svg(drawing).count(b"<script") == 0


def test_a_model_without_columns_says_so() -> None:
    assert b"The model has no columns." in chart_style.render_svg(
        model_charts.effects(make_model(), "r")
    )


def test_without_any_effect_there_is_still_a_picture() -> None:
    term = NumericTerm(column="a", median=0, coefficient=0)

    assert chart_style.render_svg(model_charts.effects(make_model((term,)), "r")).startswith(
        b"<svg"
    )
