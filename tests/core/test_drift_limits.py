import pytest

from scripts.core import drift_limits


@pytest.mark.parametrize(
    ("values", "drifted"),
    [((0.2, 0.1, None, None), True), ((0.1, 0.1, None, None), False),
     ((None, None, 0.3, 0.2), True),
     ((None, None, None, None), False)],
)  # fmt: skip
def test_a_column_has_drifted_beyond_its_limits(
    values: tuple[float | None, ...], drifted: bool
) -> None:
    names = ("drift", "drift_limit", "missing_drift", "missing_drift_limit")

    assert drift_limits.has_drifted(dict(zip(names, values, strict=True))) is drifted
