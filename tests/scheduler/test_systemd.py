"""Timers of systemd, and starts by a real systemd of a user."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from scripts.core.errors import CrontabError, ScheduleError, SchedulerError
from scripts.scheduler import schedule, systemd
from scripts.scheduler.scheduled_job import Installation, Job
from scripts.scheduler.systemd import Systemd
from tests.scheduler.test_schedule import random_expression
from tests.support import sandbox

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here"
)
# A user's systemd, without one that started the machine: /run of its own, and a mark on it.
SESSION = """
mount -t tmpfs none /run && mkdir -p /run/systemd/system /run/user/0 && chmod 700 /run/user/0
export XDG_RUNTIME_DIR=/run/user/0
systemd=/usr/lib/systemd/systemd; [ -x $systemd ] || systemd=/lib/systemd/systemd
$systemd --user >/dev/null 2>&1 &
manager=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
    systemctl --user is-system-running >/dev/null 2>&1 && break
    sleep 1
done
"$@"
code=$?
kill $manager
exit $code
"""


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/10 * * * *", ["*-*-* *:00,10,20,30,40,50:00"]),
        ("@daily", ["*-*-* 00:00:00"]),
        ("0 6 * * mon-fri", ["Mon,Tue,Wed,Thu,Fri *-*-* 06:00:00"]),
        ("5,35 8-18/2 * jan,7 *", ["*-01,07-* 08,10,12,14,16,18:05,35:00"]),
        # Either day will do, or both must match, as cron has it.
        ("0 3 1-7 * 0", ["*-*-01..07 03:00:00", "Sun *-*-* 03:00:00"]),
        (
            "0 3 */2 * 7",
            ["Sun *-*-" + ",".join(f"{day:02}" for day in range(1, 32, 2)) + " 03:00:00"],
        ),
    ],
)
def test_a_schedule_is_converted_to_the_format_of_systemd(
    expression: str, expected: list[str]
) -> None:
    assert schedule.systemd_calendars(expression) == expected


@needs_systemd
def test_systemd_has_the_same_next_times_for_60_schedules() -> None:
    random = Random(5)
    compared = 0
    while compared < 60:
        expression = random_expression(random)
        try:
            expected = schedule.next_times(expression, UTC, NOW, 3)
        except ScheduleError:
            continue
        compared += 1

        times = systemd.next_times(expression, NOW, 3)

        assert times == expected, expression


def test_arguments_survive_quoting() -> None:
    nasty = ('/it\'s 100% "né" $HOME/a\\b.sh', "--python", "%h$$\\\\")

    assert systemd.unquote(" ".join(map(systemd.quote, nasty))) == nasty


def test_a_path_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(b"/caf\xe9"))
    installation = Installation(folder / "config.json", folder=folder)

    with pytest.raises(CrontabError, match="not UTF-8, which unit files must be"):
        systemd.format_units(installation, Job("@daily", installation.arguments))


def test_without_systemd_the_message_names_cron(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SchedulerError, match=r"this machine has no systemd.*--backend cron"):
        systemd.run_systemctl("daemon-reload")


def test_without_a_session_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "units"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\necho no bus >&2\nexit 1\n")
    (tmp_path / "bin" / "systemctl").chmod(0o755)
    installation = Installation(tmp_path / "config.json", folder=tmp_path)

    with pytest.raises(SchedulerError, match=r"no bus. A user's systemd needs a machine"):
        Systemd().write(installation, Job("@daily", installation.arguments), NOW)

    assert not (tmp_path / "units").exists()


def test_a_real_user_systemd_starts_pauses_and_forgets_the_job(tmp_path: Path) -> None:
    reason = None if shutil.which("systemd-analyze") else "there is no systemd here"
    sandbox.skip_or_fail(reason or sandbox.why_not("sh"))
    folder = tmp_path / 'it\'s 100% "né" $HOME'
    folder.mkdir()
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    (folder / "config.json").write_text((ROOT / "config.json").read_text())
    (folder / "automate.sh").write_text(
        '#!/bin/sh\necho "$ADRAS_TRIGGER $0 $*" >>"$(dirname "$0")/started"\n'
    )
    (folder / "automate.sh").chmod(0o755)
    verb = f'"{sys.executable}" -m scripts.automate'
    script = f"""
    set -e
    {verb} install --backend systemd --cron '* * * * *'
    {verb} show
    timer=$(basename "$XDG_CONFIG_HOME"/systemd/user/*.timer)
    systemctl --user start "${{timer%.timer}}.service"
    {verb} pause
    systemctl --user is-active "$timer" && exit 9
    {verb} resume
    systemctl --user is-active "$timer"
    {verb} next -n 2
    {verb} remove
    ls "$XDG_CONFIG_HOME/systemd/user"
    """
    done = subprocess.run(
        [*sandbox.UNSHARE, "sh", "-c", SESSION, "sh", "sh", "-c", script],
        cwd=folder,
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "units"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    started = (folder / "started").read_text()
    assert f"systemd {folder}/automate.sh --python {sys.executable}\n" in started
    assert "The line fits this installation." in done.stdout
    assert list((tmp_path / "units").rglob("*.timer")) == []
