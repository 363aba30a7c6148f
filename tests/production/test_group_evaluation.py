"""A candidate measured by groups that are no features."""

from collections.abc import Callable

import msgspec
import pytest

from scripts.core.config import Config, EvaluationSettings
from scripts.core.errors import DatasetError
from scripts.model import logistic_model
from scripts.production import group_evaluation, release
from scripts.production.run_context import RunContext
from tests.conftest import HEADER, TEST_ROWS


@pytest.fixture
def grouped(deployed: Config) -> Callable[..., Config]:
    """Return a function that declares groups, with a country in the test data."""
    path = deployed.test_data_path / "test.csv"
    countries = ("de", "de", "de", "fr", "fr")
    rows = [f"{row},{country}" for row, country in zip(TEST_ROWS, countries, strict=True)]
    path.write_text("\n".join([f"{HEADER},country", *rows]) + "\n")

    def declare(*groups: str) -> Config:
        settings = EvaluationSettings(groups=groups, min_group_rows=2)
        return msgspec.structs.replace(deployed, evaluation=settings)

    return declare


def serving_model(config: Config) -> logistic_model.Model:
    """Return the model in production."""
    current = release.load_current(config.prod_deployment_path)
    assert current is not None
    return current.model


def test_a_group_column_need_not_be_a_feature(grouped: Callable[..., Config]) -> None:
    config = grouped("country", "lastmonth_activity")

    found = group_evaluation.main(RunContext(config), serving_model(config))

    countries = [(g.group, g.n_rows, g.n_positives) for g in found if g.column == "country"]
    # TEST_ROWS: the first three leave.
    assert countries == [("de", 3, 3), ("fr", 2, 0)]


def test_a_missing_group_column_is_named(grouped: Callable[..., Config]) -> None:
    config = grouped("region")

    with pytest.raises(DatasetError, match=r"evaluation.groups \['region'\] cannot be measured"):
        group_evaluation.main(RunContext(config), serving_model(config))


def test_without_groups_nothing_is_read(deployed: Config) -> None:
    assert group_evaluation.main(RunContext(deployed), serving_model(deployed)) == []
