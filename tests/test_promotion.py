"""Whether the candidate replaces production."""

from scripts import artifacts, promotion, release
from scripts.artifacts import Kind
from scripts.config import Config
from scripts.promotion import Answer


def test_main_holds_a_model_that_is_the_production_model(deployed: Config) -> None:
    decision = promotion.main(deployed)

    assert decision.answer is Answer.HOLD
    assert decision.candidate_f1 == decision.production_f1


def test_main_names_candidate_and_production(deployed: Config) -> None:
    decision = promotion.main(deployed)

    latest = artifacts.find_latest(deployed.output_model_path, Kind.MODEL, "training")
    current = release.load_current(deployed.prod_deployment_path)
    assert current is not None
    assert decision.candidate_stamp == artifacts.stamp_of(latest)
    assert decision.production_release == current.name
