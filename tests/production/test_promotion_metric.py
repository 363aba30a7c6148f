"""A promotion by what matters: log loss, recall at capacity, or expected gain."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts import deployment, ingestion, promotion, scoring, training
from scripts.core.config import Config, CostSettings
from scripts.pipeline import snapshot
from scripts.production import gate_simulation, promotion_gate
from scripts.records import database, runs, tables
from tests.conftest import make_rows, write_csv

COSTS = CostSettings(contact=1, offer=2)
WORTH = {"value": "lastyear_activity", "costs": COSTS, "capacity": 140}
OTHERS = ("log_loss", "recall_at_capacity", "expected_gain")


@pytest.fixture
def improved(config: Config) -> None:
    """A release of a small noisy table in production, and a candidate of a large one."""
    write_csv(config.test_data_path / "test.csv", make_rows(400, 9))
    write_csv(config.input_folder_path / "noise.csv", make_rows(60, 1, noise=0.9))
    for step in (ingestion.main, training.main, scoring.main, deployment.main):
        step(config)
    write_csv(config.input_folder_path / "more.csv", make_rows(2000, 2))
    ingestion.main(config)
    training.main(config)


@pytest.mark.usefixtures("improved")
@pytest.mark.parametrize("metric", OTHERS)
def test_the_evidence_has_the_same_form_for_each_metric(
    changed: Callable[..., Config], metric: str
) -> None:
    chosen = changed(promotion={"metric": metric}, worklist=WORTH)

    decision = promotion.main(chosen)

    assert decision.answer is promotion_gate.GateVerdict.DEPLOY
    assert decision.metric == metric
    assert decision.candidate_value is not None
    assert decision.production_value is not None
    assert decision.difference is not None
    assert decision.difference == pytest.approx(
        decision.candidate_value - decision.production_value
    )
    assert decision.difference_low is not None
    assert decision.difference_high is not None
    assert decision.difference_low < decision.difference < decision.difference_high
    assert decision.probability_better is not None
    assert decision.probability_better > 0.9
    assert "the candidate is better: candidate" in decision.reason
    assert "P(better)" in decision.reason


@pytest.mark.usefixtures("improved")
def test_a_decision_by_a_metric_is_recorded_and_limits_hold(
    changed: Callable[..., Config],
) -> None:
    config = changed(promotion={"metric": "log_loss", "min_test_rows": 1000})

    decision = promotion.main(config)

    assert decision.answer is promotion_gate.GateVerdict.NOT_ENOUGH_EVIDENCE
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        run_id = runs.start_run(connection, datetime.now(UTC))
        runs.record_decision(connection, run_id, datetime.now(UTC), **decision.as_row())
        row = runs.newest_row(connection, tables.decisions, run_id=run_id)
    assert row is not None
    assert (row["metric"], row["candidate_value"]) == ("log_loss", decision.candidate_value)


@pytest.mark.usefixtures("improved")
def test_by_f1_nothing_changes(config: Config) -> None:
    decision = promotion.main(config)

    assert (decision.metric, decision.candidate_value) == (None, None)
    assert "candidate F1" in decision.reason


def test_the_default_metric_keeps_the_fingerprint(changed: Callable[..., Config]) -> None:
    plain = snapshot.fingerprint([], [], changed())

    assert snapshot.fingerprint([], [], changed(promotion={"metric": "f1"})) == plain
    assert snapshot.fingerprint([], [], changed(promotion={"metric": "log_loss"})) != plain
    assert snapshot.fingerprint([], [], changed(worklist=WORTH)) != plain


def test_the_simulation_compares_gates_by_the_metric(
    changed: Callable[..., Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = changed(promotion={"metric": "expected_gain"}, worklist=WORTH)
    table = write_csv(tmp_path / "table.csv", make_rows(600, 3, noise=0.3))

    promotion.show_simulation(
        config, table_path=table, n_batches=3, n_test_rows=(60,), n_repeats=2, seed=0,
        cumulative=True,
    )  # fmt: skip

    header, *rows = capsys.readouterr().out.splitlines()
    assert header.endswith("final expected gain per client")
    gates = " ".join(rows)
    assert all(f"metric {name}" in gates for name in OTHERS)
    assert "final expected gain per client" in rows[-1]
    assert gate_simulation.list_metrics(changed()) == ("log_loss",)
