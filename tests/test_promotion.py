"""Whether the candidate replaces production."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scripts import artifacts, console, database, promotion, release
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


@pytest.fixture
def run(config_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """A way to run the program by its command line, leaving the logging to pytest."""
    monkeypatch.setattr(console, "set_up_logging", lambda: None)

    def invoke(*arguments: str) -> Result:
        program = promotion.make_program()
        return CliRunner().invoke(program, [*arguments, "--config", str(config_path)])

    return invoke


def test_the_plain_command_decides(deployed: Config, run: Callable[..., Result]) -> None:
    assert run().exit_code == 0


def test_last_shows_every_recorded_fact(deployed: Config, run: Callable[..., Result]) -> None:
    decision = promotion.main(deployed)
    now = datetime(2026, 11, 24, 6, 7, 8, tzinfo=UTC)
    with database.open_records(deployed.database_url) as engine, database.writing(engine) as rows:
        run_id = database.start_run(rows, now)
        database.record_decision(rows, run_id, now, **decision.as_row())

    shown = run("--last")

    assert shown.exit_code == 0
    facts = dict(line.split(maxsplit=1) for line in shown.stdout.splitlines())
    assert facts["answer"] == "hold"
    assert facts["decided_at"] == "2026-11-24 06:07:08 UTC"
    assert facts["candidate_f1"] == "0.8000"
    assert facts["probability_better"] == "0.5000"
    assert facts["n_test_positives"] == "3"
    assert facts["reason"].startswith("the candidate is not better")
    assert set(decision.as_row()) <= set(facts)


def test_last_before_any_decision_says_what_to_do(run: Callable[..., Result]) -> None:
    assert run("--last").exit_code == 66
