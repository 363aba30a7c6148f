"""Gains on validation rows, and the number of rows for tuning."""

import numpy as np
import pytest

from scripts.model import model_selection


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        # Means 1 and 0.5; standard deviations 0.577 and 1.732, over the root of 4 rows.
        ([0.5, 0.5, 1.5, 1.5], True),
        ([-1.0, -1.0, 2.0, 2.0], False),
        ([-1.0, -1.0], False),
        ([1.0], False),
        ([], False),
    ],
)
def test_a_gain_counts_beyond_two_standard_errors(gain: list[float], expected: bool) -> None:
    assert model_selection.is_more_than_chance(np.array(gain)) == expected


def test_log_loss_worked_out_by_hand_and_without_overflow() -> None:
    losses = model_selection.row_losses(
        np.array([1, 0, 1, 0]), np.array([0.0, 0.0, -1000.0, -1000.0])
    )

    assert losses == pytest.approx([np.log(2), np.log(2), 1000, 0])


@pytest.mark.parametrize(("step", "expected"), [(0.1, True), (0.01, False), (-0.1, False)])
def test_a_gain_of_less_than_a_hundredth_is_not_worth_another_form(
    step: float, expected: bool
) -> None:
    # Every row gains alike, so chance is no question. At log-odds 0 a loss is 0.693, and falls by
    # half the step: 0.05 is seven hundredths of it, 0.005 less than one.
    y = np.tile([0, 1], 50)

    assert (
        model_selection.lowers_log_loss(y, np.zeros(100), np.where(y == 1, step, -step)) == expected
    )


@pytest.mark.parametrize(
    ("n_leavers", "expected"), [(0, False), (49, False), (50, True), (150, True), (151, False)]
)
def test_both_classes_need_fifty_rows(n_leavers: int, expected: bool) -> None:
    assert model_selection.is_tunable((np.arange(200) < n_leavers).astype(np.int64)) == expected
