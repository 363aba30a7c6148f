"""The ranking of clients by probability, and their bands."""

import math

import numpy as np
import pytest

from scripts.core.config import ApiSettings, WorklistSettings
from scripts.model import ranking
from tests.support.service import make_model

NAN = math.nan


def columns_of(*rows: tuple[float, float, float]) -> dict[str, np.ndarray]:
    """Make columns of rows."""
    names = ("lastmonth_activity", "lastyear_activity", "number_of_employees")
    return dict(zip(names, np.array(rows, dtype=np.float64).reshape(-1, 3).T, strict=True))


def test_the_likeliest_come_first_and_equal_ones_keep_their_order() -> None:
    columns = columns_of((2, 0, 0), (0, 0, 0), (1, 0, 0), (0, 9, 9))

    ranked = ranking.rank(make_model(), columns, ApiSettings(), WorklistSettings())

    assert ranked.order.tolist() == [1, 3, 2, 0]
    assert ranked.positions.tolist() == [4, 1, 3, 2]
    assert ranked.bands == ["low", "high", "medium", "high"]
    assert ranked.n_without_data == 0


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        (0.0, ["high", "no data", "no data", "no data"]),
        (0.5, ["high", "high", "no data", "no data"]),
        (0.67, ["high", "high", "high", "no data"]),
        (1.0, ["high", "high", "high", "medium"]),
    ],
)
def test_more_blanks_than_the_limit_are_no_data(limit: float, found: list[str]) -> None:
    columns = columns_of((0, 0, 0), (0, NAN, 0), (0, NAN, NAN), (NAN, NAN, NAN))
    settings = WorklistSettings(max_blank_fraction=limit)

    ranked = ranking.rank(make_model(), columns, ApiSettings(), settings)

    assert ranked.bands == found
    assert ranked.positions.tolist() == [1, 2, 3, 4]


def test_a_blank_category_counts_as_blank() -> None:
    columns = columns_of((0, NAN, 0), (0, NAN, 0)) | {"plan": np.array(["", "gold"], object)}

    assert ranking.missing_fractions(make_model(categorical=True), columns).tolist() == [0.5, 0.25]


def test_nobody_is_ranked_as_nobody() -> None:
    ranked = ranking.rank(make_model(), columns_of(), ApiSettings(), WorklistSettings())

    assert (ranked.order.tolist(), ranked.bands) == ([], [])
