"""F1 of the latest model on the test data, and its file."""

import pytest

from scripts import ingestion, scoring, training
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.errors import DatasetError, InsufficientDataError, NotMadeYetError
from scripts.data import dataset
from scripts.model import metrics
from tests.conftest import TEST_ROWS, write_csv


def test_main_measures_what_can_be_counted_by_hand(config: Config) -> None:
    ingestion.main(config)
    trained = training.main(config)
    table, _ = dataset.read_test_table(config.test_data_path, config.schema)
    predicted, _ = metrics.predict_table(trained.model, table)
    # t1 and t2 are quiet and left, t4 and t5 are busy and stayed; t3 is busy and left all the same.
    assert predicted.tolist() == [1, 1, 0, 0, 0]

    scored = scoring.main(config)

    assert scored.evaluation.precision == 1.0
    assert scored.evaluation.recall == pytest.approx(2 / 3)
    assert scored.evaluation.f1 == pytest.approx(0.8)


def test_the_first_line_of_the_file_is_f1_with_full_precision(config: Config) -> None:
    ingestion.main(config)
    trained = training.main(config)

    scored = scoring.main(config)

    expected = Kind.SCORE.path(config.output_model_path, trained.stamp)
    assert scored.score_path == expected
    assert float(expected.read_text().splitlines()[0]) == scored.evaluation.f1


def test_main_says_that_there_is_no_model_yet(config: Config) -> None:
    with pytest.raises(NotMadeYetError, match="run python -m scripts.training first"):
        scoring.main(config)


def test_an_undefined_f1_is_insufficient_data(config: Config) -> None:
    ingestion.main(config)
    training.main(config)
    write_csv(config.test_data_path / "test.csv", ["t4,190,600,40,0", "t5,199,600,50,0"])

    with pytest.raises(InsufficientDataError, match="F1 is not defined"):
        scoring.main(config)


def test_test_data_that_cannot_be_read_is_named(config: Config) -> None:
    ingestion.main(config)
    training.main(config)
    (config.test_data_path / "test.csv").write_text("\n".join(["corporation,exited", *TEST_ROWS]))

    with pytest.raises(DatasetError, match=r"test\.csv: it lacks the columns"):
        scoring.main(config)
