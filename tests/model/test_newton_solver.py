"""Newton's method against scikit-learn's solvers and by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from scripts.model import newton_solver


def make_rows(n_rows: int, scales: list[float]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Make skewed features of given sizes, and labels that follow a logit of them."""
    generator = np.random.default_rng(7)
    X = generator.lognormal(0, 1, (n_rows, len(scales)))
    log_odds = 1 - X @ np.linspace(0.5, -0.3, len(scales))
    y = (generator.random(n_rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    return X * np.array(scales), y


@pytest.mark.parametrize("C", [1.0, 0.001])
@pytest.mark.parametrize("scales", [[1.0], [1.0, 1.0, 1.0], [1e-3, 1.0, 1e4], [1e6, 1e3]])
@pytest.mark.parametrize("sample_rows", [2**17, 1000])
def test_the_coefficients_are_scikit_learns(
    monkeypatch: pytest.MonkeyPatch, C: float, scales: list[float], sample_rows: int
) -> None:
    monkeypatch.setattr(newton_solver, "SAMPLE_ROWS", sample_rows)
    X, y = make_rows(20_000, scales)

    weights = newton_solver.fit(X, y, C)

    precise = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(X, y)
    expected = np.append(precise.coef_[0], precise.intercept_)
    assert weights is not None
    assert weights == pytest.approx(expected, rel=1e-6)


def test_the_gradient_vanishes_at_the_minimum() -> None:
    X, y = make_rows(5_000, [1.0, 100.0])

    weights = newton_solver.fit(X, y, 1.0)

    assert weights is not None
    at = newton_solver.measure(newton_solver.parts_of(X, y), weights, 1.0)
    assert np.abs(at.gradient / np.sqrt(np.diag(at.curvature))).max() < 1e-6


def test_the_slope_is_that_of_the_loss() -> None:
    X, y = make_rows(300, [1.0, 2.0])
    weights, step = np.array([0.1, -0.2, 0.3]), 1e-6

    at = newton_solver.measure(newton_solver.parts_of(X, y), weights, 2.0)

    for place in range(3):
        further, nearer = weights.copy(), weights.copy()
        further[place] += step
        nearer[place] -= step
        rise = (
            newton_solver.measure(newton_solver.parts_of(X, y), further, 2.0).loss
            - newton_solver.measure(newton_solver.parts_of(X, y), nearer, 2.0).loss
        )
        assert at.gradient[place] == pytest.approx(rise / (2 * step), rel=1e-5)


def test_the_loss_is_the_penalised_log_loss_by_hand() -> None:
    at = newton_solver.measure(
        newton_solver.parts_of(np.array([[0.0], [0.0]]), np.array([1, 0])),
        np.array([2.0, 0.0]),
        3.0,
    )

    # Log-odds 0 twice: 3 * 2 * log 2, and half of 2 squared.
    assert at.loss == pytest.approx(6 * np.log(2) + 2)
    assert at.gradient.tolist() == pytest.approx([2.0, 0.0])


def test_the_gradient_alone_is_that_of_the_slope() -> None:
    X, y = make_rows(300, [1.0, 2.0])
    # The last weights take the log-odds beyond what an exponential can hold.
    for weights in ([0.1, -0.2, 0.3], [0.0, 0.0, 0.0], [0.0, 0.0, 800.0], [0.0, 0.0, -800.0]):
        at = newton_solver.measure(newton_solver.parts_of(X, y), np.array(weights), 2.0)

        gradient = newton_solver.measure_gradient(
            newton_solver.parts_of(X, y), np.array(weights), 2.0
        )

        assert gradient == pytest.approx(at.gradient)


@pytest.mark.parametrize("scales", [[1.0], [1e-3, 1.0, 1e4]])
def test_the_curvature_of_a_share_of_the_rows_leads_to_the_minimum_of_all(
    scales: list[float],
) -> None:
    X, y = make_rows(40_000, scales)
    share = newton_solver.parts_of(X[::2], y[::2])
    near = newton_solver.go_near(
        lambda w: newton_solver.measure(share, w, 2.0), np.zeros(len(scales) + 1), 1e-6
    )
    assert near is not None
    n_passes = 0

    def gradient_at(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        nonlocal n_passes
        n_passes += 1
        return newton_solver.measure_gradient(newton_solver.parts_of(X, y), weights, 1.0)

    weights = newton_solver.settle(gradient_at, *near)

    assert weights == pytest.approx(newton_solver.fit(X, y, 1.0), rel=1e-6)
    assert n_passes <= 4


def test_a_bent_curvature_tells_the_rise_along_the_step_and_nothing_new_beside_it() -> None:
    curvature, step, rise = np.diag([2.0, 3.0]), np.array([1.0, 0.0]), np.array([4.0, 0.0])

    bent = newton_solver.bend(curvature, step, rise)

    assert bent.tolist() == [[4.0, 0.0], [0.0, 3.0]]
    # A gradient that falls along a step tells of rounding, not of a curvature.
    assert newton_solver.bend(curvature, step, -rise).tolist() == curvature.tolist()


def test_a_curvature_that_is_not_that_of_the_rows_is_noticed() -> None:
    X, y = make_rows(2_000, [1.0])
    other, labels = make_rows(2_000, [40.0])
    near = newton_solver.go_near(
        lambda w: newton_solver.measure(newton_solver.parts_of(other, labels), w, 1.0),
        np.zeros(2),
        1e-6,
    )
    assert near is not None

    settled = newton_solver.settle(
        lambda w: newton_solver.measure_gradient(newton_solver.parts_of(X, y), w, 1.0), *near
    )

    assert settled is None


def test_rough_weights_are_within_the_share_of_the_loss_that_was_asked_for() -> None:
    X, y = make_rows(2_000, [1.0, 1.0])
    parts = newton_solver.parts_of(X, y)
    lowest = newton_solver.fit(X, y, 1.0)
    assert lowest is not None

    near = newton_solver.go_near(lambda w: newton_solver.measure(parts, w, 1.0), np.zeros(3), 1e-2)

    assert near is not None
    loss = newton_solver.measure(parts, lowest, 1.0).loss
    assert loss < newton_solver.measure(parts, near[0], 1.0).loss < near[1].loss < 1.02 * loss


@pytest.mark.parametrize("chunk_rows", [1, 7, 1000])
def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch, chunk_rows: int) -> None:
    X, y = make_rows(500, [1.0, 1.0])
    whole = newton_solver.measure(newton_solver.parts_of(X, y), np.array([0.1, 0.2, 0.3]), 1.0)
    monkeypatch.setattr(newton_solver, "CHUNK_ROWS", chunk_rows)

    parts = newton_solver.measure(newton_solver.parts_of(X, y), np.array([0.1, 0.2, 0.3]), 1.0)

    assert parts.loss == pytest.approx(whole.loss)
    assert parts.curvature == pytest.approx(whole.curvature)


def test_separable_rows_still_have_a_minimum() -> None:
    X, y = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])

    weights = newton_solver.fit(X, y, 1.0)

    assert weights is not None
    w = weights[0]
    # Where the derivative vanishes, by hand: each row pulls by its distance times its error.
    assert w == pytest.approx(2 / (1 + np.exp(w)) + 4 / (1 + np.exp(2 * w)), abs=1e-9)
    assert weights[1] == pytest.approx(0.0, abs=1e-9)


def test_a_feature_that_is_no_number_leads_nowhere() -> None:
    assert newton_solver.fit(np.array([[np.nan], [1.0]]), np.array([0, 1]), 1.0) is None
