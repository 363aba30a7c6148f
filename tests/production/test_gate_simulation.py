"""The simulation of gates, with hand-made candidates and on a table of known history."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from scripts import promotion
from scripts.core import console
from scripts.core.config import Config, PromotionSettings
from scripts.core.errors import InsufficientDataError
from scripts.production import gate_simulation
from scripts.production.gate_simulation import (
    GateRule,
    Replay,
    ReplayCounts,
    SimulatedCandidate,
    SimulationPlan,
)
from tests.conftest import make_rows, write_csv
from tests.support.monthly import Company, configure

PLAN = SimulationPlan(n_batches=3, n_repeats=2, n_test_rows=(20, 50), cumulative=False, seed=0)


def replay_of(*candidates: tuple[list[int], float]) -> Replay:
    """Make a replay on four test rows, with exits in the first two."""
    made = [SimulatedCandidate(np.array(said, dtype=np.int64), f1) for said, f1 in candidates]
    return Replay(np.array([1, 1, 0, 0], dtype=np.int64), tuple(made))


# On the test rows: F1 2*1/(2*1+0+1) = 2/3, then 2*2/(2*2+1+0) = 0.8, then 1.
STORY = replay_of(([1, 0, 0, 0], 0.7), ([1, 1, 1, 0], 0.6), ([1, 1, 0, 0], 0.8))


@pytest.mark.parametrize(
    ("settings", "n_promotions", "n_downgrades", "final_f1"),
    [
        # Always the newest: 0.7 -> 0.6 -> 0.8, of which the first step is a downgrade.
        (None, 2, 1, 0.8),
        (PromotionSettings(min_probability=0.0), 2, 1, 0.8),
        # Four rows are never enough: the first model, which meets no limit, stays.
        (PromotionSettings(min_test_rows=5), 0, 0, 0.7),
        (PromotionSettings(min_positives=3), 0, 0, 0.7),
        # The second candidate wins or ties where a row of the first differs; the third is better
        # than the first in every resample with row 2: 1 - (3/4)^4 / 2 = 0.84.
        (PromotionSettings(min_probability=0.8), 1, 0, 0.8),
    ],
)
def test_a_gate_is_judged_by_what_it_lets_through(
    settings: PromotionSettings | None, n_promotions: int, n_downgrades: int, final_f1: float
) -> None:
    counts = ReplayCounts()

    gate_simulation.play(STORY, 4, GateRule("", settings), counts)

    assert (counts.n_promotions, counts.n_downgrades) == (n_promotions, n_downgrades)
    assert counts.final_values == [final_f1]


def test_only_the_first_test_rows_decide_when_fewer_are_asked_for() -> None:
    counts = ReplayCounts()

    gate_simulation.play(STORY, 1, GateRule("", PromotionSettings(min_probability=0.0)), counts)

    # One row is one class: no F1 could decide anything, and nothing is ever deployed.
    assert counts.final_values == [0.0]


def test_the_row_of_a_gate_has_counts_share_and_mean() -> None:
    assert ReplayCounts(4, 1, [0.5, 0.7], 8, 1).format_row(50, "x") == (
        "50",
        "x",
        "4",
        "1",
        "25%",
        "12%",
        "0.6000",
    )
    assert ReplayCounts(0, 0, [0.5]).format_row(50, "x")[4] == "-"


def test_no_row_is_in_two_parts() -> None:
    parts = gate_simulation.split_rows(400, PLAN, np.random.default_rng(0))

    # 40 % of 400 held out, 50 for tests, and 190 // 3 = 63 for each batch.
    assert [len(part) for part in parts] == [160, 50, 63, 63, 63]
    assert len(np.unique(np.concatenate(parts))) == 160 + 50 + 3 * 63


def test_a_table_that_is_too_small_is_refused_with_the_numbers() -> None:
    plan = SimulationPlan(n_batches=4, n_repeats=1, n_test_rows=(50,), cumulative=True, seed=0)

    with pytest.raises(InsufficientDataError, match="80 are held out, 50 are for tests"):
        gate_simulation.split_rows(200, plan, np.random.default_rng(0))


def table_of(n_rows: int, noise: float) -> pd.DataFrame:
    """Make a table of random clients."""
    rows = [row.split(",") for row in make_rows(n_rows, 5, noise)]
    names = ["corporation", "lastmonth_activity", "lastyear_activity", "number_of_employees"]
    table = pd.DataFrame(rows, columns=[*names, "exited"])
    return table.astype(dict.fromkeys([*names[1:], "exited"], "int64"))


def test_the_same_seed_gives_the_same_table_and_another_one_another(config: Config) -> None:
    table = table_of(400, 0.3)

    first = gate_simulation.format_results(gate_simulation.replay_table(table, config, PLAN))

    again = gate_simulation.replay_table(table, config, PLAN)
    assert gate_simulation.format_results(again) == first
    assert [row[1] for row in first[:2]] == ["always the newest", "plain rule: higher F1"]
    assert {row[0] for row in first} == {"20", "50"}


def test_where_candidates_are_equally_good_few_test_rows_promote_by_luck(
    config: Config, changed: Callable[..., Config]
) -> None:
    # Batches of one kind: whatever is promoted is promoted by chance, and is as likely a
    # downgrade as not. A gate of 0.95 lets hardly anything through, and loses nothing.
    settings = changed(training={"decision_threshold": 0.5})
    plan = SimulationPlan(n_batches=8, n_repeats=12, n_test_rows=(40,), cumulative=False, seed=1)

    results = gate_simulation.replay_table(table_of(2000, 0.4), settings, plan)
    rows = {row[1]: row for row in gate_simulation.format_results(results)}

    plain, strict = rows["plain rule: higher F1"], rows["min_probability 0.95"]
    assert int(plain[2]) >= 5
    assert 0.25 <= int(plain[3]) / int(plain[2]) <= 0.75
    assert int(strict[2]) < int(plain[2]) / 2
    assert float(strict[6]) > float(plain[6]) - 0.02


@pytest.fixture
def run(config_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function to run the command line, with logging left to pytest."""
    monkeypatch.setattr(console, "set_up_logging", lambda: None)

    def invoke(*arguments: str) -> Result:
        program = promotion.make_program()
        return CliRunner().invoke(program, [*arguments, "--config", str(config_path)])

    return invoke


def test_the_program_prints_a_table_and_keeps_progress_apart(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    table_path = write_csv(tmp_path / "table.csv", make_rows(300, 5, 0.3))

    shown = run(
        "simulate", str(table_path), "--batches", "2", "--repeats", "1", "--test-rows", "40"
    )

    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0].split("  ")[0] == "test rows"
    assert len(lines) == 2 + len(gate_simulation.list_rules(PromotionSettings()))
    assert lines[-1].startswith("40 test rows: final F1 ")


def test_a_folder_of_extracts_is_replayed_with_its_files_of_outcomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "set_up_logging", lambda: None)
    Company().write(tmp_path, 5)
    config = configure(tmp_path)

    shown = CliRunner().invoke(
        promotion.make_program(),
        ["simulate", str(config.input_folder_path), "--batches", "2", "--repeats", "1",
         "--test-rows", "40", "--config", str(tmp_path / "config.json")],
    )  # fmt: skip

    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines()[-1].startswith("40 test rows: ")


def test_the_table_of_the_simulation_fits_80_columns(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table_path = write_csv(tmp_path / "table.csv", make_rows(300, 5, 0.3))

    shown = run(
        "simulate", str(table_path), "--batches", "2", "--repeats", "1", "--test-rows", "40"
    )

    lines = shown.stdout.splitlines()
    assert len(lines) > 4
    assert max(map(len, lines)) <= 80


def counts_of(final_f1s: list[float], n_bad_steps: int) -> ReplayCounts:
    """Return counts over 20 steps."""
    return ReplayCounts(final_values=final_f1s, n_steps=20, n_bad_steps=n_bad_steps)


@pytest.mark.parametrize(
    ("better", "not_worse", "advice"),
    [
        # The F1 differs by 0.02 in each of three repeats.
        (
            counts_of([0.70, 0.72, 0.71], 2),
            counts_of([0.72, 0.74, 0.73], 9),
            '"not_worse", for the',
        ),
        (counts_of([0.72, 0.74, 0.73], 9), counts_of([0.70, 0.72, 0.71], 2), '"better", for the'),
        # It differs by -0.01, 0.01 and 0: the times decide, 10 % against 45 %.
        (
            counts_of([0.71, 0.71, 0.71], 9),
            counts_of([0.70, 0.72, 0.71], 2),
            '"not_worse", for less',
        ),
        (counts_of([0.71, 0.71, 0.71], 2), counts_of([0.70, 0.72, 0.71], 9), '"better", for less'),
        (counts_of([0.71, 0.71], 2), counts_of([0.71, 0.71], 2), "equal here"),
    ],
)
def test_the_advice_goes_by_final_f1_and_then_by_the_time_of_bad_models(
    better: ReplayCounts, not_worse: ReplayCounts, advice: str
) -> None:
    results = {
        (40, GateRule(gate_simulation.BETTER, None)): better,
        (40, GateRule(gate_simulation.NOT_WORSE, None)): not_worse,
    }

    assert advice in gate_simulation.advise(results, 40)


def test_the_time_of_a_bad_model_counts_each_candidate_at_which_it_serves() -> None:
    counts = ReplayCounts()

    # The first model, 0.7, stays: it is bad only beside the third, 0.8.
    gate_simulation.play(STORY, 4, GateRule("", PromotionSettings(min_test_rows=5)), counts)

    assert (counts.n_bad_steps, counts.n_steps) == (1, 3)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--batches", "1"], 2),
        (["--test-rows", "0"], 2),
        (["--repeats", "x"], 2),
        (["--test-rows", "100000"], 65),
    ],
)
def test_what_cannot_be_simulated_is_refused(
    run: Callable[..., Result], tmp_path: Path, arguments: list[str], code: int
) -> None:
    table_path = write_csv(tmp_path / "table.csv", make_rows(300, 5, 0.3))

    assert run("simulate", str(table_path), *arguments).exit_code == code


def test_a_table_that_is_not_there_is_refused(run: Callable[..., Result]) -> None:
    assert run("simulate", "/nowhere.csv").exit_code == 2


def test_in_order_of_time_the_batches_come_first_and_the_latest_rows_judge() -> None:
    plan = SimulationPlan(n_batches=3, n_repeats=1, n_test_rows=(50,), cumulative=True, seed=0)
    days = np.random.default_rng(1).permutation(np.arange(600) // 20)

    held_out, test, *batches = gate_simulation.split_rows(600, plan, np.random.default_rng(0), days)

    ordered = [days[rows] for rows in (*batches, test, held_out)]
    assert all(before.max() <= after.min() for before, after in pairwise(ordered))
    assert len(np.unique(np.concatenate([held_out, test, *batches]))) == 192 + 50 + 3 * 79
