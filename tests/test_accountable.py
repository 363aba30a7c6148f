"""An auditor follows an alert to its run, and on to what became of it, by API and commands."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from scripts import database, deployment, diagnostics, fullprocess
from scripts.app import create_app
from scripts.core import config_file, console, http_post
from scripts.core.console import make_command
from scripts.pipeline import steps
from scripts.records.tables import Verdict
from tests.conftest import make_rows, write_csv, write_installation
from tests.support.service import answer_of, edit_config

AUDITOR, ADA, BOB = "a" * 30, "d" * 30, "b" * 30
BECAUSE, WRONG = "the moved clients make sense", "it lists clients of a closed branch"


class Auditor:
    """Somebody with a token to read and the terminal of the machine, and nothing else."""

    def __init__(self, config_path: Path) -> None:
        self.config_path = config_path
        # What the webhook got.
        self.alerts: list[dict[str, Any]] = []
        self.client = create_app(config_path).test_client()

    def ask(self, path: str, token: str = AUDITOR, body: object = None) -> dict[str, Any]:
        """Ask the API."""
        headers = {"Authorization": f"Bearer {token}"}
        if body is None:
            return answer_of(self.client.get(path, headers=headers))
        return answer_of(self.client.post(path, json=body, headers=headers))

    def run(self, program: Any, *words: str) -> str:
        """Run a command, and return the output."""
        told = [*words, "--config", str(self.config_path)]
        result = CliRunner().invoke(program, told, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    def receive(self, _url: str, message: bytes, *_rest: object) -> str:
        """Get alerts as the webhook does, and accept them."""
        self.alerts.extend(msgspec.json.decode(message)["alerts"])
        return ""

    def find_alert(self) -> dict[str, Any]:
        """Return the alert that the second candidate waited."""
        return [entry for entry in self.alerts if "waits for approval" in entry["detail"]][1]


def label_clients(rows: list[str]) -> tuple[list[str], list[str]]:
    """Return clients before their outcome is known, and afterwards."""
    return [row.rpartition(",")[0] + "," for row in rows], rows


def play(auditor: Auditor, config_path: Path) -> None:
    """Play a year: a release, a better release, the list, the outcomes and the end."""
    folder = config_path.parent
    today, later = label_clients(make_rows(40, 7))
    write_csv(folder / "test" / "test.csv", make_rows(80, 99, noise=0.2))
    write_csv(folder / "input" / "today.csv", today)
    config = config_file.read_config(config_path)

    def approve_next() -> None:
        assert fullprocess.main(config) is Verdict.WAITING
        waits = auditor.ask("/candidate")["candidate"]
        body = {"release": waits["release"], "reason": BECAUSE}
        auditor.ask("/candidate/approve", ADA, body)

    approve_next()
    write_csv(folder / "input" / "more.csv", make_rows(200, 3))
    approve_next()
    # The next run scores the clients with the approved release, and bob calls the first one.
    write_csv(folder / "input" / "extra.csv", make_rows(3, 4))
    fullprocess.main(config)
    first = auditor.ask("/worklist?top=1")["clients"][0]["client"]
    auditor.ask("/work", BOB, {"entries": [{"client": first, "result": "lost", "note": "gone"}]})
    # Then the outcomes come in, and the release is taken back.
    write_csv(folder / "input" / "later.csv", later)
    fullprocess.main(config)
    auditor.run(deployment.make_program(), "rollback", "--reason", WRONG)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Auditor:
    """An auditor of an installation after a year."""
    config_path = write_installation(tmp_path_factory.mktemp("story"))
    tokens = config_path.parent / "tokens"
    tokens.write_text(f"read audit {AUDITOR}\nadmin ada {ADA}\nwork bob {BOB}\n")
    tokens.chmod(0o600)
    edit_config(
        config_path, promotion={"mode": "approve"}, worklist={"capacity": 5},
        retention={"inputs": True}, alerts={"webhook_url": "http://127.0.0.1:1/hook"},
        api={"token_file": "tokens", "port": 1},
    )  # fmt: skip
    auditor = Auditor(config_path)
    with pytest.MonkeyPatch.context() as patch:
        left_out = SimpleNamespace(main=lambda config, **_options: config.output_model_path)
        patch.setattr(steps, "reporting", left_out)
        patch.setattr(diagnostics, "outdated_packages", lambda *_arguments: "not asked")
        patch.setattr(http_post, "post", auditor.receive)
        play(auditor, config_path)
    return auditor


def test_an_auditor_follows_an_alert_to_the_reversal(story: Auditor, tmp_path: Path) -> None:
    # From the alert to the run.
    alert = story.find_alert()
    details = story.ask(f"/runs/{alert['run_id']}")
    assert alert["detail"] in [entry["detail"] for entry in details["alerts"]]

    # Its inputs, which are those on the disk.
    inputs = {Path(file["path"]).name: file for file in details["files"]}
    content = (story.config_path.parent / "input" / "more.csv").read_bytes()
    assert inputs["more.csv"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert (inputs["more.csv"]["role"], inputs["more.csv"]["n_rows"]) == ("input", 200)

    # Its decision, the evidence, and what it would change, seen before.
    decision, shadow = details["decision"], details["shadow"]
    assert decision["answer"] == "wait for approval"
    assert decision["n_test_rows"] == 80
    assert shadow["production_release"] == decision["production_release"]
    assert (shadow["clients"]["n_rows"], len(shadow["moves"])) == (40, 10)

    # Its approval.
    approved, waited = details["approvals"]
    assert (waited["state"], approved["state"]) == ("waiting", "approved")
    assert (approved["actor"], approved["reason"]) == ("ada", BECAUSE)
    release = approved["release"]

    # Its effect: the list that the release made, the work with it, and what came of it.
    outcomes = story.ask("/outcomes")
    of_release = [entry for entry in outcomes["outcomes"] if entry["release"] == release]
    assert len(of_release) == 40
    listed = [entry for entry in of_release if entry["is_listed"]]
    (work,) = [e for e in story.ask("/work")["entries"] if e["kind"] == "contact"]
    assert len(listed) == 5
    assert work["actor"] == "bob"
    assert work["client"] in {entry["client"] for entry in listed}

    # Its reversal.
    back, deployed = details["deployments"][0], details["deployments"][1]
    assert (deployed["kind"], deployed["release"], deployed["actor"]) == ("deploy", release, "ada")
    assert (back["kind"], back["previous_release"]) == ("rollback", release)
    assert (back["actor"], back["reason"]) == (console.actor(), WRONG)
    assert story.ask("/score")["release"] == back["release"] == decision["production_release"]

    # The same acts stand in the audit, in order, and nobody has changed a line.
    audit = tmp_path / "audit.jsonl"
    audit.write_text(story.run(database.make_program(), "audit"))
    acts = [json.loads(line) for line in audit.read_text().splitlines()]
    own = [
        (act["act"], act.get("state") or act.get("kind") or act.get("answer"), act["actor"])
        for act in acts
        if release in (act.get("release"), act.get("previous_release"))
    ]
    assert own == [
        ("approval", "waiting", console.actor()), ("approval", "approved", "ada"),
        ("deployment", "deploy", "ada"), ("deployment", "rollback", console.actor()),
    ]  # fmt: skip
    assert "none changed" in story.run(database.make_program(), "audit", "--verify", str(audit))


def test_an_auditor_makes_the_model_again_and_compares_it(
    story: Auditor,
) -> None:
    run_id = story.find_alert()["run_id"]
    program = make_command(fullprocess.show_or_start, fullprocess.OPTIONS)

    story.run(program, "--reproduce", str(run_id))
    # By the real program, which the service starts.
    compared = story.ask(f"/runs/compare?a=1&b={run_id}")

    assert compared["unknown"] == {"lists": "run 1 left no list, or it is no longer kept"}
    assert [Path(file["path"]).name for file in compared["files"]] == ["more.csv"]
    assert compared["metrics"][0]["name"] == "F1"
    assert compared["terms"]
