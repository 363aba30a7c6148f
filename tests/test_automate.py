"""Every command of `automate`, at a terminal and in a script."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pexpect
import pytest
from click.testing import CliRunner, Result

from scripts import automate
from scripts.core.config import Config
from scripts.records import database, runs
from scripts.records.tables import Status, Verdict
from scripts.scheduler import cron, scheduled_job
from tests.support import sandbox

ROOT = Path(__file__).parent.parent
VERBS = (
    "show", "install", "reschedule", "pause", "resume", "remove", "next", "status", "logs",
)  # fmt: skip
Run = Callable[..., Result]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a user's crontab in a private spool of the real crontab command."""
    sandbox.skip_or_fail(sandbox.why_not("crontab"))
    spool = tmp_path / "spool"
    spool.mkdir()
    sandbox.write_wrapper(tmp_path / "bin", spool)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(cron, "is_daemon_seen", lambda: True)
    cron.write_table(b"# mine\n0 3 * * * backup\n")
    return spool / "root"


@pytest.fixture
def run(table: Path, config_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command for an installation."""
    monkeypatch.setattr(scheduled_job, "FOLDER", config_path.parent)
    program = config_path.parent / "automate.sh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    def call(*words: str) -> Result:
        return CliRunner().invoke(
            automate.make_program(), [*words, "--config", str(config_path)], prog_name="automate"
        )

    return call


def record(config: Config, minutes_ago: float, status: Status, **facts: object) -> None:
    """Record a run of cron."""
    now = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    with database.open_records(config.database_url) as engine, database.writing(engine) as records:
        run_id = runs.start_run(records, now, status, "cron")
        if status is not Status.RUNNING:
            runs.end_run(records, run_id, ended_at=now + timedelta(seconds=2), **facts)


def test_a_job_is_installed_shown_changed_and_removed(run: Run, table: Path) -> None:
    before = cron.read_table()

    installed = run("install", "--every", "1h")
    shown = run("show")
    changed = run("reschedule", "--cron", "0 6 * * mon-fri")
    listed = run("next", "-n", "3")
    removed = run("remove")

    assert [r.exit_code for r in (installed, shown, changed, listed, removed)] == [0] * 5
    assert installed.output.startswith("Installed in the crontab of root.\n")
    assert "0 * * * *   every hour" in installed.output
    assert f"interpreter   {sys.executable}\n" in shown.output
    assert "The line fits this installation.\n" in shown.output
    assert "0 6 * * mon-fri   at 06:00 on Monday through Friday" in changed.output
    lines = listed.output.splitlines()
    assert len(lines) == 4
    assert all(" 06:00 UTC" in line for line in lines[1:])
    assert removed.output.startswith("Removed from the crontab of root.\n")
    assert cron.read_table() == before


def test_every_verb_fits_80_columns(
    run: Run, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    absent = [run(verb) for verb in ("show", "status", "remove")]
    run("install", "--every", "1h")
    record(config, 300, Status.FAILED, error="the disk has no room, " * 5)

    verbs = ("install", "show", "status", "next", "pause", "show", "next", "resume", "remove")
    shown = [*absent, *map(run, verbs)]

    lines = [line for result in shown for line in result.output.splitlines()]
    # A path is not broken, so that it can be copied.
    assert [line for line in lines if len(line) > 80 and len(line.split()) > 2] == []
    assert len(lines) > 40


def test_installing_again_puts_an_old_line_right_and_keeps_its_schedule(
    run: Run, config_path: Path
) -> None:
    run("install", "--every", "1h")
    cron.write_table((cron.read_table() or b"").replace(sys.executable.encode(), b"/gone/python"))

    shown, status = run("show"), run("status")
    again = run("install")

    assert "Does not fit: the interpreter /gone/python is missing" in shown.output
    assert status.exit_code == 1
    assert "line: the interpreter /gone/python is missing" in status.output
    assert "0 * * * *   every hour" in again.output
    assert "The line fits this installation.\n" in run("show").output


def test_a_paused_job_stays_paused_and_in_the_table_until_it_is_resumed(run: Run) -> None:
    run("install")

    paused = run("pause")
    first_line = (cron.read_table() or b"").splitlines()[1]
    rescheduled = run("reschedule", "--every", "2h")
    shown, status = run("show"), run("status")
    resumed = run("resume")

    assert "never while it is paused" in paused.output
    assert first_line.startswith(b"# paused 20")
    assert "never while it is paused" in rescheduled.output
    assert "paused since 20" in shown.output
    assert status.exit_code == 3
    assert status.output.startswith("PAUSED SINCE ")
    assert "0 */2 * * *   every 2 hours" in resumed.output
    assert run("show").output.count("active") == 1


def test_a_dry_run_shows_the_difference_and_changes_nothing(run: Run, config_path: Path) -> None:
    before = cron.read_table()

    added = run("install", "--dry-run")
    assert cron.read_table() == before
    run("install")
    installed = cron.read_table() or b""
    changed = run("reschedule", "--every", "1h", "--dry-run")
    removed = run("remove", "--dry-run")

    assert added.stdout.encode() == installed[: len(installed) - len(before or b"")]
    assert cron.read_table() == installed
    assert [line[0] for line in changed.stdout.splitlines()] == [" ", "-", "+", " "]
    assert "\n+0 * * * * '" in changed.stdout
    assert [line[0] for line in removed.stdout.splitlines()] == ["-", "-", "-"]
    assert run("install", "--dry-run").stderr == "Nothing would change.\n"


@pytest.mark.parametrize("verb", ["reschedule", "pause", "resume", "next"])
def test_a_verb_that_needs_a_job_says_how_to_install_it(verb: str, run: Run) -> None:
    options = ["--every", "1h"] if verb == "reschedule" else []

    result = run(verb, *options)

    assert result.exit_code == 66
    assert (
        "is not installed in the crontab of root; run python -m scripts.automate" in result.output
    )


def test_without_a_job_show_and_remove_say_so(run: Run) -> None:
    assert "Not installed: nothing in the crontab of root starts" in run("show").output
    assert run("remove").output.startswith("Nothing to remove")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("install", "--cron", "61 * * * *"), "the minute 61 is not between 0 and 59"),
        (("install", "--every", "7m"), "the nearest that does is 6m"),
        (("install", "--every", "1h", "--cron", "@daily"), "exclude each other"),
        (("reschedule",), "Give --every or --cron"),
        (("logs", "--run", "1", "--follow"), "exclude each other"),
        (("show", "--backend", "windows"), "is not one of 'cron', 'systemd'"),
    ],
)
def test_a_wrong_command_line_is_told_with_a_right_one(
    words: tuple[str, ...], message: str, run: Run
) -> None:
    result = run(*words)

    assert result.exit_code == 2
    assert message in result.output


def test_a_damaged_block_is_told_by_its_code(run: Run) -> None:
    run("install")
    cron.write_table((cron.read_table() or b"").replace(b"# END adras", b"# end adras"))

    result = run("remove")

    assert result.exit_code == 65
    assert "`crontab -e`" in result.output


def test_a_second_line_for_the_same_program_is_noted(run: Run) -> None:
    cron.write_table(b"*/10 * * * * cd /opt/adras && ./automate.sh\n")

    assert "Note: line 4 of the crontab also starts an automate.sh" in run("install").output


def test_another_installation_that_is_gone_is_noted_with_a_way_to_remove_it(run: Run) -> None:
    cron.write_table(
        b"# BEGIN adras /gone/config.json\n@daily '/g'\n# END adras /gone/config.json\n"
    )

    assert "which is gone; remove it with python -m scripts.automate" in run("show").output


def test_status_is_for_monitors(run: Run, config: Config) -> None:
    assert run("status").exit_code == 2
    run("install")
    assert run("status").exit_code == 0

    record(config, 25, Status.FINISHED, verdict=Verdict.DEPLOYED)
    fine = run("status")
    record(config, 1, Status.FAILED, reason="the disk is full")
    failing = run("status")

    assert fine.exit_code == 0
    assert "last run        deployed   run 1 of" in fine.output
    assert ", in 2 s, started by cron" in fine.output
    assert failing.exit_code == 1
    assert "failing: the last run did not succeed: the disk is full" in failing.output
    assert "1 failed, 1 deployed" in failing.output


def test_status_says_how_long_a_run_has_been_at_work(run: Run, config: Config) -> None:
    run("install")
    record(config, 200, Status.RUNNING)

    result = run("status")

    assert result.exit_code == 1
    assert "stuck: run 1 has been running for 3 h 20 min" in result.output
    assert "running         run 1, for 3 h 20 min" in result.output


def test_logs_shows_the_end(run: Run, config_path: Path) -> None:
    assert "has no log yet" in run("logs").output
    folder = config_path.parent / "logs"
    folder.mkdir()
    (folder / "2026-01-01.log").write_text("a\nb\nc\n")

    assert run("logs", "-n", "2").output == "b\nc\n"
    missing = run("logs", "--run", "7")
    assert missing.exit_code == 66
    assert "has no lines of run 7" in missing.output


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_help_text_and_so_has_every_option(verb: str) -> None:
    command = automate.make_program().commands[verb]

    assert command.help
    assert all(getattr(option, "help", None) for option in command.params)


def at_terminal(*words: str) -> pexpect.spawn:
    """Call the program at a real terminal."""
    return pexpect.spawn(
        sys.executable,
        ["-m", "scripts.automate", *words],
        cwd=str(ROOT),
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 160),
    )


def test_at_a_terminal_help_lists_the_verbs() -> None:
    terminal = at_terminal("--help")
    terminal.expect(pexpect.EOF)

    assert terminal.wait() == 0
    for verb in VERBS:
        assert f"  {verb} " in terminal.before


def test_at_a_terminal_every_verb_works_in_turn(
    table: Path, config_path: Path, config: Config
) -> None:
    chosen = ("--config", str(config_path), "--backend", "cron")
    session = [
        (("install", *chosen), "Installed in the crontab of root", 0),
        (("show", *chosen), "every 10 minutes", 0),
        (("reschedule", "--every", "1h", *chosen), "Rescheduled in", 0),
        (("next", *chosen), "every hour", 0),
        (("pause", *chosen), "Paused in", 0),
        (("status", *chosen), "PAUSED SINCE", 3),
        (("resume", *chosen), "Active in", 0),
        (("status", *chosen), "FINE", 0),
        (("logs", "--run", "999999", *chosen), "has no lines of run 999999", 66),
        (("remove", *chosen), "Removed from", 0),
        (("status", *chosen), "NOT INSTALLED", 2),
    ]
    for words, expected, code in session:
        terminal = at_terminal(*words)
        terminal.expect_exact(expected)
        terminal.expect(pexpect.EOF)
        assert terminal.wait() == code, words

    assert cron.read_table() == b"# mine\n0 3 * * * backup\n"


@pytest.mark.parametrize("verb", VERBS)
def test_at_a_terminal_every_verb_explains_itself(verb: str) -> None:
    terminal = at_terminal(verb, "--help")
    terminal.expect(pexpect.EOF)

    assert terminal.wait() == 0
    assert f"Usage: python -m scripts.automate {verb} [OPTIONS]" in terminal.before
    assert "--config" in terminal.before
    assert "--backend" in terminal.before


def test_a_script_reads_the_block_from_the_output_alone(table: Path, config_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.automate", "install", "--dry-run", "--config", config_path],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )

    assert done.stdout.startswith(b"# BEGIN adras ")
    assert done.stdout.count(b"\n") == 3
    assert done.stderr.startswith(b"Would be added to the crontab of root; nothing else changes:")
