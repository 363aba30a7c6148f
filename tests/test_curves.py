"""How well probabilities tell who leaves: points by hand, words with numbers, empty cases."""

import numpy as np
import pytest

from scripts import canvas, curves, outcomes
from scripts.canvas import Drawing
from scripts.curves import Judged

# Ten clients, the riskiest first; the first, second and fifth left.
Y = [1, 1, 0, 0, 1, 0, 0, 0, 0, 0]
P = [0.95, 0.85, 0.75, 0.65, 0.55, 0.45, 0.35, 0.25, 0.15, 0.05]


def judged(y: list[int] = Y, probability: list[float] = P, threshold: float = 0.7) -> Judged:
    """Make test rows with what was said of them."""
    return Judged(np.array(y, dtype=np.int64), np.array(probability), threshold, "0001_x")


def line_of(drawing: Drawing, label: str) -> tuple[list[float], list[float]]:
    """Read the points of a drawn line."""
    axes = canvas.draw(drawing, canvas.LIGHT).axes[0]
    line = next(line for line in axes.lines if line.get_label() == label)
    return list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))  # type: ignore[arg-type]


def test_the_point_of_the_threshold_is_where_the_counts_put_it() -> None:
    # From 0.7 up three are predicted to leave: two do, of three; one of seven is a false alarm.
    roc, recall = curves.roc(judged(), 0.9), curves.precision_recall(judged())

    points = [np.ravel(line_of(drawing, "threshold")) for drawing in (roc, recall)]
    assert points[0].tolist() == pytest.approx([1 / 7, 2 / 3])
    assert points[1].tolist() == pytest.approx([2 / 3, 2 / 3])


def test_a_threshold_that_nobody_reaches_lists_nobody() -> None:
    x, y = line_of(curves.roc(judged(threshold=0.99), 0.9), "threshold")

    assert (x, y) == ([0.0], [0.0])


def test_the_words_hold_the_numbers() -> None:
    roc, recall = curves.roc(judged(), 20 / 21), curves.precision_recall(judged())

    assert "area under it is 0.952" in roc.alt
    assert "At the threshold 0.700, 66.7% of those who leave are caught" in roc.alt
    assert "false alarms for 14.3% of those who stay" in roc.alt
    assert "release 0001_x on 10 test rows, 3 of them positive" in recall.alt
    assert "66.7% of those predicted to leave do; by chance it would be 30.0%" in recall.alt


def test_gains_are_the_share_of_exits_among_the_riskiest() -> None:
    x, y = line_of(curves.gains(judged()), "production")

    assert x == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1])
    assert y == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 1, 1, 1, 1, 1, 1])


def test_gains_agree_with_what_the_worklist_says() -> None:
    rng = np.random.default_rng(5)
    rows = Judged((rng.random(500) < 0.3).astype(np.int64), rng.random(500), 0.5, "r")

    lengths, shares = curves.cumulate(rows)

    for length, share in zip(lengths, shares, strict=True):
        assert share == outcomes.caught_share(rows.y, rows.probability, float(length))


def test_long_curves_keep_their_head_and_are_thinned_behind_it() -> None:
    x, y = curves.thinned(np.arange(10_000.0), np.arange(10_000.0) ** 2)

    assert x[:200].tolist() == list(range(200))
    assert len(x) == len(y) == 400
    assert x[-1] == 9999
    assert (y == x**2).all()


def of_ranks(left: list[int], n_rows: int) -> Judged:
    """Make rows of which those at these ranks left; the probability falls from rank to rank."""
    y = [int(rank in left) for rank in range(1, n_rows + 1)]
    return judged(y, np.linspace(1, 0, n_rows).tolist())


def test_precision_of_the_first_six_is_drawn_as_it_is() -> None:
    # The first six of 10,000 left, then nobody among fourteen, then every tenth.
    rows = of_ranks([*range(1, 7), *range(21, 10_001, 10)], 10_000)

    recall, precision = line_of(curves.precision_recall(rows), "production")

    n_left = 6 + 998
    assert recall[:7] == pytest.approx([n / n_left for n in (1, 2, 3, 4, 5, 6, 6)])
    assert precision[:8] == pytest.approx([1, 1, 1, 1, 1, 1, 6 / 7, 6 / 8])
    assert precision[19:21] == pytest.approx([6 / 20, 7 / 21])
    assert (recall[-1], precision[-1]) == pytest.approx((1, n_left / 10_000))


def test_the_heads_of_the_other_curves_are_drawn_point_by_point() -> None:
    rows = of_ranks([*range(1, 7), *range(21, 10_001, 10)], 10_000)

    false_alarms, caught = line_of(curves.roc(rows, 0.5), "production")
    lengths, gained = line_of(curves.gains(rows), "production")

    # Six without a false alarm, then fourteen false alarms.
    points = np.column_stack((false_alarms, caught))
    corners = [0, 6 / 1004], [14 / 8996, 6 / 1004]
    assert all(np.isclose(points, corner).all(axis=1).any() for corner in corners)
    assert lengths[:8] == pytest.approx([n / 10_000 for n in range(8)])
    assert gained[:8] == pytest.approx([n / 1004 for n in (0, 1, 2, 3, 4, 5, 6, 6)])


def test_short_curves_are_not_thinned() -> None:
    (x,) = curves.thinned(np.array([3.0, 1.0, 2.0]))

    assert x.tolist() == [3, 1, 2]


def test_calibration_compares_tenths_of_the_probability() -> None:
    drawing = curves.calibration(judged([1, 0, 0, 0], [0.92, 0.98, 0.11, 0.15]))
    x, y = line_of(drawing, "realised, 95 % interval, clients")

    assert x == pytest.approx([0.13, 0.95])
    assert y == pytest.approx([0, 0.5])
    # (0.08^2 + 0.98^2 + 0.11^2 + 0.15^2) / 4 = 1.0014 / 4
    assert "Brier score 0.250" in drawing.alt
    assert "2 with 13% predicted, 0% left; 2 with 95% predicted, 50% left" in drawing.alt


@pytest.mark.parametrize(("y", "auc"), [([0, 0, 0], None), ([1, 1, 1], None), ([0], None)])
def test_one_class_has_no_curve_and_says_so(y: list[int], auc: float | None) -> None:
    rows = judged(y, [0.5] * len(y))

    for drawing in (curves.roc(rows, auc), curves.precision_recall(rows)):
        assert curves.ONE_CLASS in drawing.alt
        assert curves.ONE_CLASS.encode() in canvas.render_svg(drawing)


def test_without_an_exit_there_are_no_gains() -> None:
    assert curves.ONE_CLASS in curves.gains(judged([0, 0], [0.1, 0.9])).alt


def test_where_everybody_left_a_list_catches_its_length() -> None:
    x, y = line_of(curves.gains(judged([1, 1, 1], [0.1, 0.5, 0.9])), "production")

    assert y == pytest.approx(x)


@pytest.mark.parametrize("probability", [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
def test_probabilities_at_the_ends_are_drawn(probability: list[float]) -> None:
    rows = judged([0, 1], probability, 0.5)

    for drawing in (curves.roc(rows, 0.5), curves.gains(rows), curves.calibration(rows)):
        assert canvas.render_svg(drawing).startswith(b"<svg")
