"""A candidate that waits for a person: nothing serves before the approval."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from scripts import deployment, fullprocess, promotion
from scripts.core import artifacts, config_file, console
from scripts.core.config import Config
from scripts.core.errors import ConfigError, NotMadeYetError, ReleaseError
from scripts.pipeline import snapshot
from scripts.pipeline.run import Request
from scripts.production import approval, approval_alerts, pending_comparison, release, rollback
from scripts.production.promotion_gate import GateVerdict
from scripts.production.run_context import RunContext
from scripts.records import alert_states, database, runs, scoring_records, tables
from scripts.records.tables import ApprovalState, DeploymentKind, Verdict
from tests.conftest import make_rows, write_csv, write_installation
from tests.support.service import ROOT

WHY = "the moved clients make sense"


def let_a_person_approve(config_path: Path) -> Config:
    """Edit the configuration as a person does."""
    settings = json.loads(config_path.read_text())
    settings |= {"promotion": {"mode": "approve"}, "api": {"port": 1}}
    config_path.write_text(json.dumps(settings))
    return config_file.read_config(config_path)


def run(config: Config, seed: int = 0) -> Verdict:
    """Run the full process, with new clients for a seed."""
    if seed:
        write_csv(config.input_folder_path / f"{seed}.csv", make_rows(60, seed))
    return fullprocess.main(config)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation whose first candidate waits, made once for copies."""
    folder = tmp_path_factory.mktemp("template") / "installation"
    config_path = write_installation(folder)
    write_csv(folder / "test" / "test.csv", make_rows(80, 99, noise=0.2))
    config = let_a_person_approve(config_path)
    assert run(config) is Verdict.WAITING
    return folder


@pytest.fixture
def waiting(template: Path, config_path: Path) -> Config:
    """An installation whose first candidate waits."""
    shutil.rmtree(config_path.parent)
    shutil.copytree(template, config_path.parent, symlinks=True)
    return config_file.read_config(config_path)


def serving(config: Config) -> str | None:
    """Return the name of the release in production, which must be whole."""
    current = release.load_current(config.prod_deployment_path)
    return None if current is None else current.name


def candidates(config: Config) -> list[str]:
    """Return the names of the releases in the folder of those that wait."""
    folder = config.prod_deployment_path
    return [path.name for path in artifacts.list_releases(folder, artifacts.PENDING)]


def history(config: Config) -> list[tuple[str, str]]:
    """Return the states and actors of the candidates, oldest first."""
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        rows = runs.newest_rows(connection, tables.approvals, 50)
    return [(row["state"], row["actor"]) for row in reversed(rows)]


def state_of_alert(config: Config) -> str:
    """Return the alert state about approvals."""
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        state = alert_states.current_state(connection, approval_alerts.NAME)
    assert state is not None
    return str(state["state"])


def approve(config: Config, name: str | None = None) -> str:
    """Approve a candidate as Ada."""
    return approval.approve(config, release_name=name, reason=WHY, actor="ada").name


def test_a_candidate_that_passes_the_gate_waits_and_nothing_serves(waiting: Config) -> None:
    (name,) = candidates(waiting)

    assert serving(waiting) is None
    assert artifacts.list_releases(waiting.prod_deployment_path) == []
    assert history(waiting) == [("waiting", console.actor())]
    assert state_of_alert(waiting) == f"{name} waits"


def test_a_run_without_news_changes_nothing_while_the_first_candidate_waits(
    waiting: Config,
) -> None:
    before = candidates(waiting)

    assert run(waiting) is Verdict.NOTHING_NEW
    assert candidates(waiting) == before


def test_after_the_first_approval_the_next_run_fills_the_list(waiting: Config) -> None:
    write_csv(waiting.input_folder_path / "today.csv", ["today,3,200,10,"])
    # The candidate is no better than the one that waits.
    assert run(waiting) is Verdict.HELD
    name = approve(waiting)

    assert [run(waiting), run(waiting)] == [Verdict.HELD, Verdict.NOTHING_NEW]

    assert serving(waiting) == name
    with database.open_records(waiting.database_url) as engine, database.reading(engine) as c:
        scored = scoring_records.last_scoring(c)
    assert scored is not None
    assert (scored["release"], scored["n_clients"]) == (name, 1)


def test_an_approved_candidate_serves_and_the_records_say_who_and_why(waiting: Config) -> None:
    (name,) = candidates(waiting)

    assert approve(waiting) == name

    assert serving(waiting) == name
    assert candidates(waiting) == []
    assert history(waiting) == [("waiting", console.actor()), ("approved", "ada")]
    assert state_of_alert(waiting) == alert_states.OK
    with (
        database.open_records(waiting.database_url) as engine,
        database.reading(engine) as connection,
    ):
        (deployed,) = runs.list_deployments(connection, 5)
    assert (deployed["release"], deployed["actor"]) == (name, "ada")
    assert deployed["reason"] == f"approved: {WHY}"
    assert (deployed["run_id"], deployed["previous_release"]) == (1, None)


def test_a_rejected_candidate_never_serves_and_its_model_is_not_proposed_again(
    waiting: Config,
) -> None:
    name = approval.reject(waiting, release_name=None, reason="too few clients", actor="ada")

    decision = promotion.main(waiting)

    assert serving(waiting) is None
    assert state_of_alert(waiting) == alert_states.OK
    assert decision.answer is GateVerdict.HOLD
    assert f"this model was rejected as release {name} by ada" in decision.reason
    with pytest.raises(NotMadeYetError, match=f"the last one, {name}, was rejected by ada"):
        approve(waiting)


def test_a_candidate_rejected_by_mistake_can_be_approved_by_name(waiting: Config) -> None:
    name = approval.reject(waiting, release_name=None, reason="a mistake", actor="ada")

    assert approve(waiting, name) == name

    assert serving(waiting) == name
    # It is the model in production now, and no longer one to hold back.
    assert "rejected" not in promotion.main(waiting).reason


def test_a_better_candidate_takes_the_place_of_the_one_that_waits(waiting: Config) -> None:
    (first,) = candidates(waiting)
    # With many more rows the model is better on the test rows.
    write_csv(waiting.input_folder_path / "many.csv", make_rows(600, 5))

    assert run(waiting) is Verdict.WAITING

    (second,) = candidates(waiting)
    assert second != first
    assert int(second[:4]) == int(first[:4]) + 1
    assert [state for state, _ in history(waiting)] == ["waiting", "replaced", "waiting"]
    # The same test rows have judged both.
    with (
        database.open_records(waiting.database_url) as engine,
        database.reading(engine) as connection,
    ):
        judged = [row["n_judged"] for row in runs.list_decisions(connection, 5)]
    assert judged == [2, 1]
    assert state_of_alert(waiting) == f"{second} waits"
    with pytest.raises(ReleaseError, match=f"Release {first} does not wait for approval; {second}"):
        approve(waiting, first)
    assert serving(waiting) is None


def test_a_candidate_that_is_not_better_than_the_one_that_waits_is_held(waiting: Config) -> None:
    before = candidates(waiting)

    forced = Request(force_reason="the same data again")

    assert fullprocess.main(waiting, request=forced) is Verdict.HELD
    assert candidates(waiting) == before
    # Nothing serves yet, and still the next run has nothing to do.
    assert run(waiting) is Verdict.NOTHING_NEW


def test_a_damaged_candidate_cannot_be_approved_and_the_next_one_replaces_it(
    waiting: Config, caplog: pytest.LogCaptureFixture
) -> None:
    (name,) = candidates(waiting)
    model = approval.pending_path(waiting, name) / release.MODEL
    model.write_bytes(model.read_bytes()[:-2])

    with pytest.raises(ReleaseError, match="is damaged"):
        approve(waiting)

    assert history(waiting)[-1][0] == "waiting"
    with database.open_records(waiting.database_url) as engine:
        context = RunContext(waiting)
        assert pending_comparison.load_waiting(engine, context) is None
    assert "cannot be used, and is replaced" in caplog.text


def test_a_reminder_comes_after_a_day_and_only_once(waiting: Config) -> None:
    (name,) = candidates(waiting)
    now = datetime.now(UTC)
    with database.open_records(waiting.database_url) as engine:
        for hours in (23, 25, 49):
            approval_alerts.record_reminder(engine, now + timedelta(hours=hours))
        with database.reading(engine) as connection:
            due = alert_states.unsent_alerts(connection, now - timedelta(days=9))

    texts = [alert["state"] for alert in due if alert["name"] == approval_alerts.NAME]
    assert texts == [f"{name} waits", f"{name} still waits"]


def test_a_release_that_was_never_approved_cannot_be_reached_by_a_rollback(
    waiting: Config,
) -> None:
    approve(waiting)
    write_csv(waiting.input_folder_path / "many.csv", make_rows(600, 5))
    assert run(waiting) is Verdict.WAITING
    (pending,) = candidates(waiting)

    with pytest.raises(ReleaseError, match=f"There is no release {pending}"):
        rollback.main(waiting, release_name=pending, reason=WHY)


def test_a_deployment_by_hand_is_refused_where_a_person_approves(waiting: Config) -> None:
    with pytest.raises(ConfigError, match="promotion approve"):
        deployment.deploy(waiting)


def test_an_approval_of_a_killed_program_is_completed_by_the_next_run(waiting: Config) -> None:
    (name,) = candidates(waiting)
    with (
        database.open_records(waiting.database_url) as engine,
        database.writing(engine) as connection,
    ):
        entry = approval.find_candidate(connection, None, set())
        approval.record_answer(connection, entry, ApprovalState.APPROVED, "ada", WHY)

    run(waiting)

    assert serving(waiting) == name


def test_a_killed_approval_is_not_completed_after_a_later_decision(waiting: Config) -> None:
    first = approve(waiting)
    write_csv(waiting.input_folder_path / "many.csv", make_rows(600, 5))
    run(waiting)
    with database.open_records(waiting.database_url) as engine:
        with database.writing(engine) as connection:
            entry = approval.find_candidate(connection, None, set())
            approval.record_answer(connection, entry, ApprovalState.APPROVED, "ada", WHY)
            runs.record_deployment(
                connection, datetime.now(UTC), DeploymentKind.ROLLBACK, first, actor="bob"
            )

        assert approval.finish(engine, waiting) is None
    assert serving(waiting) == first


def test_who_approves_is_no_news(waiting: Config) -> None:
    settings = msgspec.structs.replace(waiting.promotion, mode="automatic")
    automatic = msgspec.structs.replace(waiting, promotion=settings)

    assert snapshot.fingerprint([], [], waiting) == snapshot.fingerprint([], [], automatic)


def ask(*arguments: str) -> Result:
    """Run a command of the promotion."""
    return CliRunner().invoke(promotion.make_program(), arguments)


def test_the_command_approves_in_the_name_of_the_account(
    waiting: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "actor", lambda: "ada")
    path = str(waiting.prod_deployment_path.parent / "config.json")

    assert ask("approve", "--config", path).exit_code == 2
    assert ask("approve", "--config", path, "--reason", WHY).exit_code == 0
    assert ask("reject", "--config", path, "--reason", WHY).exit_code == 66
    assert history(waiting)[-1] == ("approved", "ada")


def try_to_die(config_path: Path, first: int, step: int) -> dict[str, int]:
    """Kill runs and approvals before their calls, and return what was counted."""
    command = [sys.executable, "-m", "tests.support.approving", str(config_path)]
    done = subprocess.run(
        [*command, str(first), str(step)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return counts


def test_wherever_a_run_or_an_approval_dies_nothing_serves_that_was_not_approved(
    waiting: Config,
) -> None:
    counts = try_to_die(waiting.prod_deployment_path.parent / "config.json", 3, 37)

    assert counts["deaths of approvals"] >= 1
    assert counts["deaths of runs"] >= 1


@pytest.mark.campaign
def test_before_whichever_call_a_run_or_an_approval_dies_nothing_serves_unapproved(
    waiting: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = try_to_die(waiting.prod_deployment_path.parent / "config.json", 1, 1)

    with capsys.disabled():
        print(f"\nruns and approvals that died: {counts}")
    assert counts["deaths of approvals"] >= 20
