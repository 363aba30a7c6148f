"""Runs real cron and systemd, without access to the tables of the machine."""

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

SPOOL = "/var/spool/cron/crontabs"
# A mount namespace: what is mounted inside is seen by this command and its children only.
UNSHARE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]
ENTER = 'mount --bind "$1" {spool} && shift && exec "$@"'


def why_not(program: str) -> str | None:
    """Return the reason against a test of a real scheduler, or None."""
    if shutil.which(program) is None:
        return f"there is no {program} here (Debian: apt-get install cron)"
    if not Path(SPOOL).is_dir():
        return f"there is no {SPOOL} here"
    tried = subprocess.run([*UNSHARE, "mount", "--bind", "/tmp", "/tmp"], capture_output=True)
    return None if tried.returncode == 0 else "this user cannot make a mount namespace"


def skip_or_fail(reason: str | None) -> None:
    """Skip a test with a reason, but fail in .ci/run."""
    if reason is None:
        return
    if os.environ.get("ADRAS_CI"):
        pytest.fail(f"In .ci/run this must not be left out: {reason}.")
    pytest.skip(reason)


def inside(spool: Path, *command: str) -> list[str]:
    """Return a command line for a command with a private spool."""
    return [*UNSHARE, "sh", "-c", ENTER.format(spool=SPOOL), "sh", str(spool), *command]


def write_wrapper(folder: Path, spool: Path) -> None:
    """Write a program `crontab` for the real crontab on a private spool."""
    folder.mkdir(parents=True)
    real = shutil.which("crontab")
    wrapper = folder / "crontab"
    script = ENTER.format(spool=SPOOL)
    wrapper.write_text(
        f"#!/bin/sh\nexec {' '.join(UNSHARE)} sh -c '{script}' sh '{spool}' {real} \"$@\"\n"
    )
    wrapper.chmod(0o755)


def is_attached(image: Path) -> bool:
    """Return whether a loop device has a file."""
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        # The device may let go of its file between the two.
        with contextlib.suppress(OSError):
            if path.read_text().strip() == str(image):
                return True
    return False


def wait_until_detached(image: Path, timeout_s: float = 120) -> None:
    """Wait until no loop device has a file any more.

    A mount namespace made meanwhile, by another test say, keeps what was mounted then; mounted
    again, the disk would be the old file system, still without power.
    """
    until = time.monotonic() + timeout_s
    while is_attached(image):
        assert time.monotonic() < until, f"{image} is still mounted in another mount namespace"
        time.sleep(0.1)
