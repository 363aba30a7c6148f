"""The decision whether the candidate replaces production."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from scripts import ingestion, promotion, training
from scripts.core import artifacts, console
from scripts.core.artifacts import Kind
from scripts.core.config import Config, PromotionSettings
from scripts.production import promotion_gate, release
from scripts.production.promotion_gate import GateVerdict
from scripts.records import database, runs


def test_main_holds_a_model_that_is_the_production_model(deployed: Config) -> None:
    decision = promotion.main(deployed)

    assert decision.answer is GateVerdict.HOLD
    assert decision.candidate_f1 == decision.production_f1


def test_main_names_candidate_and_production(deployed: Config) -> None:
    decision = promotion.main(deployed)

    latest = artifacts.find_latest(deployed.output_model_path, Kind.MODEL, "training")
    current = release.load_current(deployed.prod_deployment_path)
    assert current is not None
    assert decision.candidate_stamp == artifacts.stamp_of(latest)
    assert decision.production_release == current.name


def declare(config: Config, **columns: object) -> Config:
    """Edit the schema as a person does, and train with the new schema."""
    edited = msgspec.structs.replace(
        config, schema=msgspec.structs.replace(config.schema, **columns)
    )
    ingestion.main(edited)
    training.main(edited)
    return edited


def test_after_a_change_of_schema_that_production_cannot_follow_the_candidate_is_deployed(
    deployed: Config, caplog: pytest.LogCaptureFixture
) -> None:
    current = release.load_current(deployed.prod_deployment_path)
    edited = declare(deployed, numeric=("lastmonth_activity",), minimum={"lastmonth_activity": 0})
    assert current is not None

    decision = promotion.main(edited)

    assert decision.answer is GateVerdict.DEPLOY
    assert decision.reason == (
        f"release {current.name} cannot be compared: it needs the numeric columns"
        " ['lastyear_activity', 'number_of_employees'], which the schema no longer has;"
        f" the candidate has F1 {decision.candidate_f1:.4f}"
    )
    assert decision.production_release == current.name
    assert (decision.production_f1, decision.probability_better) == (None, None)
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "cannot be compared" in warning.getMessage()


def test_after_a_change_of_schema_too_few_test_rows_still_hold_the_candidate(
    deployed: Config,
) -> None:
    edited = declare(deployed, numeric=("lastmonth_activity",), minimum={"lastmonth_activity": 0})
    strict = PromotionSettings(min_probability=0.95, min_test_rows=6, min_positives=3)

    decision = promotion.main(msgspec.structs.replace(edited, promotion=strict))

    # The five test rows have three leavers; how sure one must be needs a comparison.
    assert decision.answer is GateVerdict.NOT_ENOUGH_EVIDENCE
    assert decision.reason.endswith(", but test rows 5 below promotion.min_test_rows = 6")


def test_columns_that_are_new_leave_the_comparison_as_it_is(deployed: Config) -> None:
    schema = msgspec.structs.replace(deployed.schema, categorical=("corporation",), ids=())

    assert promotion_gate.find_mismatch(schema, deployed.schema) == ""


def test_another_label_makes_production_answer_another_question(deployed: Config) -> None:
    schema = msgspec.structs.replace(deployed.schema, positive="0", negative="1")

    mismatch = promotion_gate.find_mismatch(schema, deployed.schema)

    assert mismatch.startswith("predicts 'exited' with the labels")


def test_a_column_that_has_become_a_category_is_lost_as_a_number(deployed: Config) -> None:
    schema = msgspec.structs.replace(
        deployed.schema,
        numeric=deployed.schema.numeric[:2],
        categorical=deployed.schema.numeric[2:],
        minimum={},
    )

    assert promotion_gate.find_mismatch(schema, deployed.schema) == (
        "needs the numeric columns ['number_of_employees'], which the schema no longer has"
    )


def test_numbers_and_categories_that_are_lost_are_both_named(deployed: Config) -> None:
    production = msgspec.structs.replace(deployed.schema, categorical=("plan",))
    schema = msgspec.structs.replace(deployed.schema, numeric=deployed.schema.numeric[1:])

    assert promotion_gate.find_mismatch(schema, production) == (
        "needs the numeric columns ['lastmonth_activity'] and the categorical columns ['plan'],"
        " which the schema no longer has"
    )


@pytest.fixture
def run(config_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function to run the command line, with logging left to pytest."""
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
        run_id = runs.start_run(rows, now)
        runs.record_decision(rows, run_id, now, **decision.as_row())

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
