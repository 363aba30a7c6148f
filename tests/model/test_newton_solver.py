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
    at = newton_solver.measure(X, y, weights, 1.0)
    assert np.abs(at.gradient / np.sqrt(np.diag(at.curvature))).max() < 1e-6


def test_the_slope_is_that_of_the_loss() -> None:
    X, y = make_rows(300, [1.0, 2.0])
    weights, step = np.array([0.1, -0.2, 0.3]), 1e-6

    at = newton_solver.measure(X, y, weights, 2.0)

    for place in range(3):
        further, nearer = weights.copy(), weights.copy()
        further[place] += step
        nearer[place] -= step
        rise = (
            newton_solver.measure(X, y, further, 2.0).loss
            - newton_solver.measure(X, y, nearer, 2.0).loss
        )
        assert at.gradient[place] == pytest.approx(rise / (2 * step), rel=1e-5)


def test_the_loss_is_the_penalised_log_loss_by_hand() -> None:
    at = newton_solver.measure(
        np.array([[0.0], [0.0]]),
        np.array([1, 0]),
        np.array([2.0, 0.0]),
        3.0,
    )

    # Log-odds 0 twice: 3 * 2 * log 2, and half of 2 squared.
    assert at.loss == pytest.approx(6 * np.log(2) + 2)
    assert at.gradient.tolist() == pytest.approx([2.0, 0.0])


@pytest.mark.parametrize("chunk_rows", [1, 7, 1000])
def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch, chunk_rows: int) -> None:
    X, y = make_rows(500, [1.0, 1.0])
    whole = newton_solver.measure(X, y, np.array([0.1, 0.2, 0.3]), 1.0)
    monkeypatch.setattr(newton_solver, "CHUNK_ROWS", chunk_rows)

    parts = newton_solver.measure(X, y, np.array([0.1, 0.2, 0.3]), 1.0)

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
