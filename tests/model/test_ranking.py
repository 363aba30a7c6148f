"""The ranking of clients by probability, and their bands."""

import math
from typing import Literal

import msgspec
import numpy as np
import pytest

from scripts.core.config import ApiSettings, WorklistSettings
from scripts.model import logistic_model, ranking
from scripts.model.logistic_model import Model
from tests.support.service import make_model

NAN = math.nan
NUMBERS = ApiSettings(medium_risk_from=0.3, high_risk_from=0.6)


def with_facts(*, threshold: float, n_positives: int) -> Model:
    """Make a model with a threshold, trained on a hundred rows."""
    made = make_model()
    facts = msgspec.structs.replace(made.dataset, n_rows=100, n_positives=n_positives)
    return msgspec.structs.replace(made, threshold=threshold, dataset=facts)


def columns_of(*rows: tuple[float, float, float]) -> dict[str, np.ndarray]:
    """Make columns of rows."""
    names = ("lastmonth_activity", "lastyear_activity", "number_of_employees")
    return dict(zip(names, np.array(rows, dtype=np.float64).reshape(-1, 3).T, strict=True))


def test_the_likeliest_come_first_and_equal_ones_keep_their_order() -> None:
    columns = columns_of((2, 0, 0), (0, 0, 0), (1, 0, 0), (0, 9, 9))

    ranked = ranking.rank(make_model(), columns, NUMBERS, WorklistSettings())

    assert ranked.order.tolist() == [1, 3, 2, 0]
    assert ranked.positions.tolist() == [4, 1, 3, 2]
    assert ranked.bands == ["low", "high", "medium", "high"]


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

    ranked = ranking.rank(make_model(), columns, NUMBERS, settings)

    assert ranked.bands == found
    assert ranked.positions.tolist() == [1, 2, 3, 4]


def test_a_blank_category_counts_as_blank() -> None:
    columns = columns_of((0, NAN, 0), (0, NAN, 0)) | {"plan": np.array(["", "gold"], object)}

    assert ranking.missing_fractions(make_model(categorical=True), columns).tolist() == [0.5, 0.25]


def test_nobody_is_ranked_as_nobody() -> None:
    ranked = ranking.rank(make_model(), columns_of(), ApiSettings(), WorklistSettings())

    assert (ranked.order.tolist(), ranked.bands) == ([], [])


@pytest.mark.parametrize(
    ("threshold", "n_positives"), [(0.11, 3), (0.04, 3), (0.38, 40), (0.5, 40), (0.3, 40), (0, 0)]
)
def test_a_band_never_contradicts_a_prediction(threshold: float, n_positives: int) -> None:
    made = with_facts(threshold=threshold, n_positives=n_positives)
    probability = np.linspace(0, 1, 1001)

    limits = ranking.band_limits(made, ApiSettings())
    bands = [ranking.BANDS[place] for place in ranking.find_places(probability, limits)]

    predicted = logistic_model.predictions(made, probability) == 1
    assert [band == "high" for band in bands] == predicted.tolist()
    assert [band == "low" for band in bands] == (
        probability < min(n_positives / 100, threshold)
    ).tolist()
    assert bands == [ranking.find_band(p, limits) for p in probability.tolist()]


@pytest.mark.parametrize(
    ("medium", "high", "expected"),
    [
        ("auto", "auto", (0.1, 0.2)),
        (0.3, 0.6, (0.3, 0.6)),
        ("auto", 0.6, (0.1, 0.6)),
        ("auto", 0.05, (0.05, 0.05)),
        (0.15, "auto", (0.15, 0.2)),
        (0.7, "auto", (0.2, 0.2)),
    ],
)
def test_numbers_of_the_config_win(
    medium: float | Literal["auto"], high: float | Literal["auto"], expected: tuple[float, float]
) -> None:
    api = ApiSettings(medium_risk_from=medium, high_risk_from=high)

    limits = ranking.band_limits(with_facts(threshold=0.2, n_positives=10), api)

    assert (limits.medium, limits.high) == expected


def test_every_probability_is_in_the_range_of_its_band() -> None:
    limits = ranking.band_limits(make_model(), NUMBERS)

    for probability in (0.0, 0.29, 0.3, 0.59, 0.6, 1.0):
        low, high = limits.ranges[ranking.find_band(probability, limits)]
        assert low <= probability < high
