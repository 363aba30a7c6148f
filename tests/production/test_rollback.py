"""Rollback: an atomic switch by command, and the withdrawal of the release left."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scripts import deployment, fullprocess, ingestion, promotion, scoring, training
from scripts.core import artifacts, config_file, console, files
from scripts.core.config import Config
from scripts.core.errors import ReleaseError
from scripts.pipeline import retention
from scripts.production import promotion_gate, release, rollback, withdrawals
from scripts.production.promotion_gate import GateVerdict
from scripts.records.tables import DeploymentKind, Verdict
from tests.conftest import make_rows, write_csv, write_installation
from tests.test_deployment import deploy_again

WHY = "the extract of May was wrong"


def deploy_rows(config: Config, seed: int) -> str:
    """Deploy a model of some clients and return the name of the release."""
    write_csv(config.input_folder_path / "c.csv", make_rows(40, seed))
    made = deploy_again(config)
    rollback.record_switch(config, DeploymentKind.DEPLOY, made, None, "by hand")
    return made.name


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with the third release in production, made once for copies."""
    folder = tmp_path_factory.mktemp("template") / "installation"
    config = config_file.read_config(write_installation(folder))
    for step in (ingestion.main, training.main, scoring.main, deployment.main):
        step(config)
    deploy_rows(config, 2)
    deploy_rows(config, 3)
    return folder


@pytest.fixture
def three(template: Path, config_path: Path) -> tuple[Config, list[str]]:
    """An installation with the third release in production, and the names of the releases."""
    shutil.rmtree(config_path.parent)
    shutil.copytree(template, config_path.parent, symlinks=True)
    config = config_file.read_config(config_path)
    names = [path.name for path in artifacts.list_releases(config.prod_deployment_path)]
    return config, names


def serving(config: Config) -> str | None:
    """Return the name of the release in production, after a check of files and links."""
    current = release.load_current(config.prod_deployment_path)
    assert current is not None
    for name in release.FILES:
        content = (config.prod_deployment_path / name).read_bytes()
        assert content == (current.path / name).read_bytes()
    return current.name


def roll_back(config: Config, name: str | None = None) -> str:
    """Roll back and return the name of the release in production."""
    return rollback.main(config, release_name=name, reason=WHY).name


def test_a_rollback_leads_to_the_release_that_served_before(
    three: tuple[Config, list[str]],
) -> None:
    config, (first, second, _third) = three

    assert roll_back(config) == second
    assert serving(config) == second
    # What was rolled back is no place to go back to.
    assert roll_back(config) == first
    with pytest.raises(ReleaseError, match="no earlier release to go back to"):
        roll_back(config)
    assert serving(config) == first


@pytest.mark.parametrize("spell", [str, lambda name: name[:4], lambda _name: "1"])
def test_a_release_can_be_named_or_numbered(
    three: tuple[Config, list[str]], spell: Callable[[str], str]
) -> None:
    config, (first, _second, _third) = three

    assert roll_back(config, spell(first)) == first
    assert serving(config) == first


def test_after_a_rollback_to_the_first_the_second_has_not_served_last(
    three: tuple[Config, list[str]],
) -> None:
    config, (first, second, third) = three
    roll_back(config, first)
    fourth = deploy_rows(config, 4)

    assert roll_back(config) == first
    assert {w.release for w in withdrawals.read_withdrawals(config.prod_deployment_path)} == {
        third,
        fourth,
    }
    with pytest.raises(ReleaseError, match="no earlier release"):
        roll_back(config)
    assert roll_back(config, second) == second


def test_a_release_that_never_served_is_the_last_choice(three: tuple[Config, list[str]]) -> None:
    config, (_first, second, third) = three
    prod = config.prod_deployment_path
    # A deployment killed just before its switch leaves a whole release that has never served.
    orphan = prod / artifacts.RELEASES / "0004_20300101T000000000000Z"
    shutil.copytree(prod / artifacts.RELEASES / second, orphan)
    fifth = deploy_rows(config, 5)
    assert fifth.startswith("0005_")

    assert roll_back(config) == third


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("0003", "is in production already"),
        ("0007", "There is no release 0007; did you mean 000"),
        ("0002_2026", "There is no release 0002_2026; did you mean 0002_2"),
        ("../../etc", "There is no release ../../etc"),
        ("", "There is no release ;"),
    ],
)
def test_a_release_that_cannot_be_meant_is_refused(
    three: tuple[Config, list[str]], wanted: str, message: str
) -> None:
    config, (_first, _second, third) = three

    with pytest.raises(ReleaseError, match=message):
        roll_back(config, wanted)

    assert serving(config) == third
    assert withdrawals.read_withdrawals(config.prod_deployment_path) == ()


@pytest.mark.parametrize("name", [*release.FILES, release.MANIFEST])
@pytest.mark.parametrize("wanted", [None, "2"])
def test_a_damaged_release_is_refused_and_another_one_is_named(
    three: tuple[Config, list[str]], name: str, wanted: str | None
) -> None:
    config, (first, second, third) = three
    path = config.prod_deployment_path / artifacts.RELEASES / second / name
    content = path.read_bytes()
    path.write_bytes(content[:-3])

    with pytest.raises(ReleaseError, match=f"damaged.*Nothing was switched.*{first}"):
        roll_back(config, wanted)

    assert serving(config) == third


def test_a_damaged_current_release_is_no_obstacle(three: tuple[Config, list[str]]) -> None:
    config, (_first, second, third) = three
    for path in (config.prod_deployment_path / artifacts.RELEASES / third).iterdir():
        path.write_bytes(b"")

    assert roll_back(config) == second
    assert serving(config) == second


def test_the_records_say_who_and_why(
    three: tuple[Config, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, (_first, second, third) = three
    monkeypatch.setenv("SUDO_USER", "ada")

    roll_back(config)

    row = rollback.read_history(config)[0]
    assert (row["kind"], row["release"], row["previous_release"]) == ("rollback", second, third)
    assert (row["actor"], row["reason"], row["run_id"]) == ("ada", WHY, None)
    (noted,) = withdrawals.read_withdrawals(config.prod_deployment_path)
    assert (noted.release, noted.actor, noted.reason) == (third, "ada", WHY)


def test_the_actor_is_the_account_where_nobody_used_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert console.actor()

    monkeypatch.setattr(os, "getuid", lambda: 987654)
    assert console.actor() == "uid 987654"


def break_records(config: Config) -> None:
    """Fill the database with garbage."""
    Path(config.database_url.removeprefix("sqlite:///")).write_bytes(b"garbage" * 1000)


def test_without_the_records_the_rollback_works_and_says_so_loudly(
    three: tuple[Config, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    config, (_first, second, third) = three
    break_records(config)

    assert roll_back(config) == second

    assert serving(config) == second
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert any("SERVES, BUT THIS IS NOT IN THE RECORDS" in text for text in warnings)
    # What keeps it out of production does not depend on the records.
    (noted,) = withdrawals.read_withdrawals(config.prod_deployment_path)
    assert noted.release == third


def retrain(config: Config) -> promotion_gate.Decision:
    """Train a new model and return the decision of the promotion."""
    return promotion.main(config, model_path=training.main(config).model_path)


def make_better(config: Config) -> None:
    """Make the next candidate better than production beyond doubt."""
    write_csv(config.test_data_path / "test.csv", make_rows(300, 9))
    write_csv(config.input_folder_path / "c.csv", make_rows(500, 7))


def test_a_rolled_back_model_is_held_on_the_same_data_with_who_and_why(
    deployed: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    make_better(deployed)
    better = deploy_again(deployed).name
    roll_back(deployed)

    decision = retrain(deployed)

    assert decision.answer is GateVerdict.HOLD
    assert f"rolled back as release {better} by ada" in decision.reason
    assert WHY in decision.reason
    # Its evidence is kept nevertheless: it would have been better.
    assert decision.difference is not None
    assert decision.difference > 0


def test_other_data_or_other_settings_make_another_model(
    deployed: Config, changed: Callable[..., Config]
) -> None:
    make_better(deployed)
    deploy_again(deployed)
    roll_back(deployed)

    assert retrain(changed(training={"C": 0.5})).answer is GateVerdict.DEPLOY
    write_csv(deployed.input_folder_path / "d.csv", make_rows(500, 8))
    deploy_again(deployed)
    assert artifacts.current_name(deployed.prod_deployment_path) is not None


def test_to_let_it_serve_again_is_a_rollback_to_it(deployed: Config) -> None:
    make_better(deployed)
    better = deploy_again(deployed).name
    first = roll_back(deployed)

    assert roll_back(deployed, better) == better

    (noted,) = withdrawals.read_withdrawals(deployed.prod_deployment_path)
    assert noted.release == first
    assert "not better" in retrain(deployed).reason


def test_no_tick_undoes_a_rollback(config_path: Path) -> None:
    settings = json.loads(config_path.read_text()) | {
        "api": {"port": 1},
        "training": {"decision_threshold": 0.5},
    }
    config_path.write_text(json.dumps(settings))
    config = config_file.read_config(config_path)
    fullprocess.main(config)
    make_better(config)
    assert fullprocess.main(config) is Verdict.DEPLOYED
    first = roll_back(config)

    assert fullprocess.main(config) is Verdict.NOTHING_NEW
    # New test rows, and records that begin anew: trained again, and held.
    write_csv(config.test_data_path / "more.csv", make_rows(300, 10))
    assert fullprocess.main(config) is Verdict.HELD
    Path(config.database_url.removeprefix("sqlite:///")).unlink()
    assert fullprocess.main(config) is Verdict.HELD

    assert serving(config) == first


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'[{"release": "x"}]'])
def test_a_damaged_list_of_withdrawals_stops_promotion_but_not_a_rollback(
    three: tuple[Config, list[str]], content: bytes
) -> None:
    config, (_first, second, third) = three
    path = config.prod_deployment_path / artifacts.WITHDRAWN
    path.write_bytes(content)

    with pytest.raises(ReleaseError, match="is damaged"):
        promotion.main(config)
    assert roll_back(config) == second

    assert [w.release for w in withdrawals.read_withdrawals(path.parent)] == [third]


def test_a_damaged_model_file_is_told_from_a_model(deployed: Config) -> None:
    current = release.load_current(deployed.prod_deployment_path)
    assert current is not None
    origin = withdrawals.origin_of(current.model)

    assert rollback.describe_origin(current.path) == origin
    (current.path / release.MODEL).write_bytes(b"")
    assert rollback.describe_origin(current.path) is None


def test_retention_spares_the_current_the_last_that_served_and_the_next_to_go_back_to(
    deployed: Config,
) -> None:
    prod = deployed.prod_deployment_path
    names = [artifacts.current_name(prod), *(deploy_rows(deployed, seed) for seed in range(2, 8))]
    # Served: 1 to 7, then back to 3, then to 2: 3 served last, and 1 is where to go next.
    roll_back(deployed, names[2])
    roll_back(deployed)
    served = [row["release"] for row in rollback.read_history(deployed)]

    n_removed = retention.remove_old_releases(prod, 2, served)

    left = [path.name[:4] for path in artifacts.list_releases(prod)]
    assert left == ["0001", "0002", "0003", "0006", "0007"]
    assert n_removed == 2
    assert retention.remove_old_releases(prod, 2, served) == 0


@pytest.fixture
def run(config_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function to run the command line, with logging left to pytest."""
    monkeypatch.setattr(console, "set_up_logging", lambda: None)

    def invoke(*arguments: str) -> Result:
        program = deployment.make_program()
        return CliRunner().invoke(program, [*arguments, "--config", str(config_path)])

    return invoke


def test_list_shows_every_release_with_its_story(
    three: tuple[Config, list[str]], run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    _config, (first, second, third) = three
    monkeypatch.setenv("SUDO_USER", "ada")
    assert run("rollback", "--reason", WHY).exit_code == 0

    shown = run("list")

    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["release", third, second, first]
    assert f"rolled back by ada: {WHY}" in lines[1]
    assert " current " in lines[2]
    assert lines[2].split("rollback", 1)[1].split(maxsplit=1) == ["ada", WHY]
    assert "not recorded" in lines[3]


def test_verify_names_every_fault_of_every_release(
    three: tuple[Config, list[str]], run: Callable[..., Result]
) -> None:
    config, (first, second, third) = three
    assert run("verify").exit_code == 0
    folder = config.prod_deployment_path / artifacts.RELEASES
    (folder / first / release.PICKLE).write_bytes(b"")
    (folder / first / release.SCORE).unlink()
    (folder / third / release.MANIFEST).write_text("{")

    checked = run("verify")

    assert checked.exit_code == 65
    lines = dict(line.split(" ", 1) for line in checked.stdout.splitlines())
    assert "trainedmodel.pkl is damaged" in lines[first]
    assert "latestscore.txt cannot be read" in lines[first]
    assert lines[second] == "whole"
    assert "manifest.json is damaged" in lines[third]


def test_verify_finds_a_current_that_leads_nowhere(
    three: tuple[Config, list[str]], run: Callable[..., Result]
) -> None:
    config, (_first, _second, third) = three
    shutil.rmtree(config.prod_deployment_path / artifacts.RELEASES / third)

    checked = run("verify")

    assert checked.exit_code == 65
    assert f"{third} damaged: current leads to a missing folder" in checked.stdout


@pytest.mark.parametrize("command", ["list", "verify"])
def test_a_status_question_before_the_first_release_says_what_to_do(
    run: Callable[..., Result], command: str
) -> None:
    assert run(command).exit_code == 66


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rollback"], "Missing option '--reason'"),
        (["rollback", "--reason", " \n"], "it is empty; say for example --reason"),
        (["rollbakc"], "No such command"),
        ([], "Missing command"),
    ],
)
def test_a_wrong_command_line_is_refused(
    deployed: Config, run: Callable[..., Result], arguments: list[str], message: str
) -> None:
    before = serving(deployed)

    refused = run(*arguments)

    assert refused.exit_code == 2
    assert message in refused.stderr
    assert serving(deployed) == before


def test_without_a_verb_there_is_help_and_no_deployment() -> None:
    shown = CliRunner().invoke(deployment.make_program(), [])

    assert shown.exit_code == 2
    for verb in ("deploy", "list", "rollback", "verify"):
        assert f"\n  {verb} " in shown.output


def test_the_reason_stays_on_one_line(
    three: tuple[Config, list[str]], run: Callable[..., Result]
) -> None:
    config, _names = three

    assert run("rollback", "2", "--reason", "bad\nINFO forged: all is well").exit_code == 0

    assert rollback.read_history(config)[0]["reason"] == "bad INFO forged: all is well"


def test_deploy_deploys_and_records_who(deployed: Config, run: Callable[..., Result]) -> None:
    assert run("deploy").exit_code == 0

    assert str(serving(deployed)).startswith("0002_")
    (row,) = rollback.read_history(deployed)
    assert (row["kind"], row["release"]) == ("deploy", serving(deployed))
    assert row["actor"] == console.actor()


def test_the_config_may_stand_before_the_subcommand(
    deployed: Config, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "set_up_logging", lambda: None)

    shown = CliRunner().invoke(deployment.make_program(), ["--config", str(config_path), "list"])

    assert shown.exit_code == 0
    assert str(serving(deployed)) in shown.stdout


def test_a_rollback_waits_for_nobody_who_writes(
    three: tuple[Config, list[str]], run: Callable[..., Result]
) -> None:
    config, (_first, _second, third) = three

    with files.exclusive_lock(config.prod_deployment_path):
        assert run("rollback", "--reason", WHY).exit_code == 75

    assert serving(config) == third
