"""The audit: every act in order, and no line changed, missing or inserted unseen."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from scripts import database as program
from scripts import fullprocess
from scripts.core import console, keys
from scripts.core.config import AlertSettings, Config
from scripts.core.errors import RecordsError
from scripts.production import approval, audit
from scripts.records import database
from tests.conftest import make_rows, write_csv
from tests.production.test_approval import WHY, approve, run, template, waiting

__all__ = ["template", "waiting"]
KEY = b"k" * keys.N_BYTES
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACTS = [
    (NOW + timedelta(days=day), "deployment", {"id": day, "actor": name, "reason": "é"})
    for day, name in enumerate(["ada", "bob", "cyn", "dan"])
]
LINES = tuple(audit.encode_chain(ACTS, KEY))


def test_each_line_carries_the_hash_of_the_line_before() -> None:
    decoded = [json.loads(line) for line in LINES]

    assert [line["n"] for line in decoded] == [1, 2, 3, 4, 5]
    assert decoded[0]["before"] == "0" * 64
    assert decoded[3]["before"] == audit.hash_line(LINES[2])
    assert decoded[1]["actor"] == "bob"
    assert (decoded[4]["act"], decoded[4]["n_acts"]) == ("end", 4)
    assert audit.check_chain(LINES, KEY) == 4


def fault_of(lines: list[str], key: bytes | None = KEY) -> str:
    """Return the fault that the check names."""
    with pytest.raises(RecordsError) as fault:
        audit.check_chain(lines, key)
    return str(fault.value)


@pytest.mark.parametrize("number", range(5))
def test_a_changed_line_is_found(number: int) -> None:
    lines = list(LINES)
    lines[number] = lines[number].replace('"2026', '"1926').replace('"seal":"', '"seal":"0')

    expected = "The seal is not" if number == 4 else f"Line {number + 1} was changed"

    assert fault_of(lines).startswith(expected)


@pytest.mark.parametrize("number", range(4))
def test_a_missing_line_is_found(number: int) -> None:
    assert f"line {number + 1} is missing" in fault_of([*LINES[:number], *LINES[number + 1 :]])


@pytest.mark.parametrize("number", range(1, 5))
def test_an_inserted_line_is_found(number: int) -> None:
    lines = [*LINES[:number], LINES[number - 1], *LINES[number:]]

    assert f"Line {number + 1} was inserted" in fault_of(lines)


def test_lines_in_another_order_a_cut_end_and_an_added_line_are_found() -> None:
    assert "missing" in fault_of([LINES[1], LINES[0], *LINES[2:]])
    assert "cut after line 3" in fault_of(list(LINES[:3]))
    assert "after the end" in fault_of([*LINES, LINES[0]])
    assert "no line of an audit" in fault_of(["{}", *LINES[1:]])
    assert "cut after line 0" in fault_of([])


def test_a_chain_made_anew_without_the_key_is_found() -> None:
    forged = list(audit.encode_chain(ACTS[:2], b"x" * keys.N_BYTES))

    assert fault_of(forged).startswith("The seal is not that of this installation")
    # Without the key of the installation only the chain itself can be checked.
    assert audit.check_chain(forged, None) == 2


def ask(config: Config, *arguments: str) -> Result:
    """Run the command of the audit."""
    path = config.prod_deployment_path.parent / "config.json"
    return CliRunner().invoke(program.make_program(), ["audit", *arguments, "--config", str(path)])


def test_an_auditor_follows_a_release_from_decision_to_reversal(
    waiting: Config,
    tmp_path: Path,
) -> None:
    first = approve(waiting)
    write_csv(waiting.input_folder_path / "many.csv", make_rows(600, 5))
    run(waiting)
    approval.reject(waiting, release_name=None, reason="too early", actor="bob")

    shown = ask(waiting)
    acts = [json.loads(line) for line in shown.stdout.splitlines()]

    # The settings of the copied installation differ in their folders, which is an act, too.
    kept = [act for act in acts[:-1] if act["act"] != "settings"]
    story = [(act["act"], act.get("state") or act.get("answer")) for act in kept]
    assert story == [
        ("decision", "wait for approval"),
        ("approval", "waiting"),
        ("approval", "approved"),
        ("deployment", None),
        ("decision", "wait for approval"),
        ("approval", "waiting"),
        ("approval", "rejected"),
    ]
    assert (kept[3]["release"], kept[3]["actor"]) == (first, "ada")
    assert kept[3]["reason"] == f"approved: {WHY}"
    assert kept[-1]["actor"] == "bob"
    # A run by hand is that of the account at the terminal.
    assert (kept[0]["run_id"], kept[0]["actor"]) == (1, console.actor())
    path = tmp_path / "audit.jsonl"
    path.write_text(shown.stdout)
    assert "9 acts, none changed" in ask(waiting, "--verify", str(path)).stdout
    path.write_text(shown.stdout.replace("too early", "too late"))
    assert ask(waiting, "--verify", str(path)).exit_code == 74


def test_a_change_of_settings_is_an_act_and_no_secret_is_recorded(
    waiting: Config,
) -> None:
    secret = AlertSettings(webhook_url="https://chat.test/hook/s3cret")
    promotion = msgspec.structs.replace(waiting.promotion, min_test_rows=7)
    changed = msgspec.structs.replace(waiting, alerts=secret, promotion=promotion)

    for config in (waiting, waiting, changed, changed):
        fullprocess.main(config)

    shown = ask(waiting).stdout
    acts = [line for line in map(json.loads, shown.splitlines()) if line["act"] == "settings"]
    act = acts[-1]
    # The run of the fixture, the copy of its folder, and this change.
    assert len(acts) == 3
    assert act["reason"] == ("alerts.webhook_url: '' -> 'set'; promotion.min_test_rows: 1 -> 7")
    assert "s3cret" not in shown
    with database.open_records(waiting.database_url) as engine:
        assert "s3cret" not in Path(str(engine.url.database)).read_bytes().decode("latin-1")
