"""Manages the timer and service of an installation in the systemd of the user."""

import hashlib
import os
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from scripts.core import files
from scripts.core.errors import CrontabError, SchedulerError
from scripts.scheduler.schedule import systemd_calendars
from scripts.scheduler.scheduled_job import Installation, Job, check_arguments

SCHEDULE = re.compile(r"^# schedule: (.+)$", re.MULTILINE)
PAUSED = re.compile(r"^# paused (\S+)$", re.MULTILINE)
COMMAND = re.compile(r'^ExecStart=/bin/sh (".*")$', re.MULTILINE)
TIMEOUT_S = 30


def quote(argument: str) -> str:
    """Quote an argument for ExecStart, including % of specifiers and $ of variables."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("%", "%%").replace("$", "$$") + '"'


def unquote(command: str) -> tuple[str, ...]:
    """Return the arguments of a command with quotes by `quote`."""
    quoted = re.findall(r'"((?:[^"\\]|\\.)*)"', command)
    return tuple(
        re.sub(r"\\(.)", r"\1", text.replace("$$", "$").replace("%%", "%")) for text in quoted
    )


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of systemd, with English messages."""
    try:
        return subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT_S,
            env={**{k: v for k, v in os.environ.items() if k != "TZ"}, "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise SchedulerError(
            f"There is no {arguments[0]} here: this machine has no systemd. Use cron:"
            " python -m scripts.automate install --backend cron."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SchedulerError(f"{' '.join(arguments)} did not end within {TIMEOUT_S} s.") from error


def next_times(expression: str, after: datetime, n: int) -> list[datetime]:
    """Return the next n times of a schedule by systemd, in UTC.

    Unlike cron, systemd leaves out a repeated hour, and times in a skipped hour.
    """
    base = f"{after.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    options = [f"--iterations={n}", f"--base-time={base}"]
    process = run_command("systemd-analyze", "calendar", *options, *systemd_calendars(expression))
    texts = re.findall(
        r"^ *(?:Next elapse|Iter\. #\d+|\(in UTC\)): (.+ UTC)$", process.stdout, re.MULTILINE
    )
    moments = {
        datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC) for text in texts
    }
    return sorted(moments)[:n]


def format_units(installation: Installation, job: Job) -> tuple[str, str]:
    """Return the service file and the timer file of a job."""
    check_arguments(job.arguments)
    try:
        "".join(job.arguments).encode()
    except UnicodeEncodeError as error:
        raise CrontabError(
            f"The path {installation.folder} is not UTF-8, which unit files must be; rename it."
        ) from error
    title = f"adras {installation.config_path}".replace("%", "%%")
    command = " ".join(quote(argument) for argument in job.arguments)
    service = (
        "# Made and changed by python -m scripts.automate.\n"
        f"[Unit]\nDescription={title}\n\n"
        # Exit code 75 is an overlap with another run, which is skipped and no failure.
        "[Service]\nType=oneshot\nEnvironment=ADRAS_TRIGGER=systemd\nSuccessExitStatus=75\n"
        "UMask=0077\n"
        f"ExecStart=/bin/sh {command}\n"
    )
    paused = "" if job.paused_since is None else f"# paused {job.paused_since or 'unknown'}\n"
    times = "".join(f"OnCalendar={calendar}\n" for calendar in systemd_calendars(job.expression))
    timer = (
        "# Made and changed by python -m scripts.automate.\n"
        f"# schedule: {job.expression}\n{paused}[Unit]\nDescription={title}\n\n"
        f"[Timer]\n{times}AccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n"
    )
    return service, timer


def run_systemctl(*arguments: str) -> str:
    """Run `systemctl --user` with arguments and return its output."""
    process = run_command("systemctl", "--user", *arguments)
    if process.returncode:
        raise SchedulerError(
            f"systemctl --user {' '.join(arguments)}: {process.stderr.strip()}. A user's systemd"
            " needs a machine started by systemd and a session of the user; otherwise use"
            " --backend cron."
        )
    return process.stdout


def unit_folder() -> Path:
    """Return the folder for units of the user."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "systemd" / "user"


def unit_paths(installation: Installation) -> tuple[Path, Path]:
    """Return the paths of the service and the timer of an installation."""
    digest = hashlib.sha256(os.fsencode(installation.config_path)).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9]+", "-", installation.config_path.parent.name).strip("-")[:40]
    stem = "-".join(filter(None, ("adras", readable, digest)))
    return unit_folder() / f"{stem}.service", unit_folder() / f"{stem}.timer"


def check_units(paths: tuple[Path, Path]) -> None:
    """Check unit files with `systemd-analyze verify`."""
    process = run_command("systemd-analyze", "--user", "verify", *map(str, paths))
    if process.returncode or process.stderr.strip():
        raise SchedulerError(f"systemd-analyze verify: {process.stderr.strip()}")


class Systemd:
    """Backend for timers in the systemd of the user."""

    name = "systemd"

    @property
    def place(self) -> str:
        """Return the place of the jobs for messages."""
        return f"a timer of systemd in {unit_folder()}"

    def read(self, installation: Installation) -> Job | None:
        """Return the job of an installation, or None."""
        service_path, timer_path = unit_paths(installation)
        if not timer_path.exists():
            return None
        timer = timer_path.read_text(errors="replace")
        command = service_path.read_text(errors="replace") if service_path.exists() else ""
        schedule, start, paused = (
            SCHEDULE.search(timer),
            COMMAND.search(command),
            PAUSED.search(timer),
        )
        if not schedule or not start:
            raise CrontabError(
                f"{timer_path} or its service is not as this tool writes it; remove both with"
                " `python -m scripts.automate remove --backend systemd`, and install again."
            )
        return Job(schedule[1], unquote(start[1]), paused[1] if paused else None)

    def write(self, installation: Installation, job: Job | None, now: datetime) -> Path | None:
        """Write and enable the units, or disable them if paused, or remove them with None."""
        paths = _, timer_path = unit_paths(installation)
        if job is None:
            if timer_path.exists():
                run_systemctl("disable", "--now", timer_path.name)
            for path in paths:
                path.unlink(missing_ok=True)
            run_systemctl("daemon-reload")
            return None
        run_systemctl("daemon-reload")
        for path, text in zip(paths, format_units(installation, job), strict=True):
            files.write_whole(path, text)
        try:
            check_units(paths)
        except SchedulerError:
            for path in paths:
                path.unlink()
            raise
        run_systemctl("daemon-reload")
        if job.paused_since is None:
            run_systemctl("enable", timer_path.name)
            run_systemctl("restart", timer_path.name)
        else:
            run_systemctl("disable", "--now", timer_path.name)
        return timer_path

    def preview(self, installation: Installation, job: Job | None) -> tuple[str, str]:
        """Return the present unit files, and the unit files after a write."""
        paths = unit_paths(installation)
        before = "".join(path.read_text(errors="replace") for path in paths if path.exists())
        return before, "\n".join(format_units(installation, job)) if job else ""

    def next_times(self, expression: str, after: datetime, n: int) -> list[datetime]:
        """Return the next n times of a schedule, in UTC."""
        return next_times(expression, after, n)

    def changed_at(self, installation: Installation) -> datetime | None:
        """Return the time of the last write of the timer, or None."""
        path = unit_paths(installation)[1]
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.exists() else None

    def notes(self, installation: Installation) -> list[str]:
        """Return further hints for the user."""
        timer_path = unit_paths(installation)[1]
        notes = []
        if (
            run_command("systemctl", "--user", "is-active", timer_path.name).stdout.strip()
            != "active"
        ):
            notes.append(f"the timer is not active; see systemctl --user status {timer_path.name}")
        if (
            run_command("loginctl", "show-user", "--property=Linger", "--value").stdout.strip()
            != "yes"
        ):
            notes.append("runs stop when you log out, unless once: loginctl enable-linger")
        return notes
