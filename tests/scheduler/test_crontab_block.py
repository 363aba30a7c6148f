"""Edits of the marked block in a crontab."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.core.errors import CrontabError
from scripts.scheduler import crontab_block
from scripts.scheduler.scheduled_job import Installation, Job

NAME = "/opt/adras/config.json"
JOB = Job("*/10 * * * *", ("/opt/adras/automate.sh", "--python", "/opt/adras/.venv/bin/python"))
OTHER = "/srv/adras/config.json"
BLOCK = (
    b"# BEGIN adras /opt/adras/config.json\n"
    b"*/10 * * * * '/opt/adras/automate.sh' --python '/opt/adras/.venv/bin/python'\n"
    b"# END adras /opt/adras/config.json\n"
)
BEGIN, JOB_LINE, END = BLOCK.splitlines(keepends=True)

# Lines as people have them: variables, comments, disabled and broken lines, other line ends,
# other encodings, and the blocks of another installation.
LINES = [
    b"", b" ", b"\t", b"\r", b"# m h dom mon dow command", b"PATH=/usr/bin:/bin", b"PATH = /bin",
    b"CRON_TZ=Asia/Tokyo", b'MAILTO="a@b.example"', b"MAILTO=", b"SHELL=/bin/bash", b"\xff\xfe\x00",
    b"0 3 * * * /usr/bin/backup --date \\%F", b"#0 3 * * * /usr/bin/backup", b"# caf\xc3\xa9",
    b"# caf\xe9", b"@reboot  /usr/local/bin/start", b"*/5\t*\t*\t*\t*\tdate >> /tmp/x\r",
    b"0 0 30 2 * never", b"this is no line at all", b"# BEGIN something else", b"#BEGIN adras",
    b"*/10 * * * * cd '/opt/adras' && ./automate.sh", b"%" * 40, b"x" * 2000,
    b"# BEGIN adras /srv/adras/config.json", b"# END adras /srv/adras/config.json",
]  # fmt: skip
lines = st.one_of(st.sampled_from(LINES), st.binary(max_size=40))
tables = st.builds(
    lambda parts, end: b"\n".join(parts) + end,
    st.lists(lines, max_size=12),
    st.sampled_from([b"", b"\n", b"\r\n", b"\n\n"]),
).filter(lambda table: b"/opt/adras/config.json" not in table)
# Any path: bytes that are no UTF-8, blanks, quotes, %, backslashes; no control character.
paths = st.binary(max_size=25).map(
    lambda raw: "/" + os.fsdecode(bytes(b for b in raw if b > 31 and b != 127))
)


def check_identity(table: bytes, path: str) -> None:
    """Check that a table is unchanged after a job was added, changed and removed."""
    job = Job("5 4 * * sun", (f"{path}/automate.sh", "--python", f"{path}/python"))
    name = f"{path}/config.json"
    paused = Job(job.expression, job.arguments, "2026-01-02T03:04:05Z")

    added = crontab_block.replace_job(table, name, job)
    changed = crontab_block.replace_job(added, name, paused)

    assert crontab_block.read_job(added, name) == job
    assert crontab_block.read_job(changed, name) == paused
    assert crontab_block.replace_job(changed, name, job) == added
    assert added.endswith(table)
    assert crontab_block.replace_job(added, name, None) == table
    assert crontab_block.replace_job(changed, name, None) == table
    assert crontab_block.replace_job(table, name, None) == table


@settings(max_examples=2_000, deadline=None)
@given(tables, paths)
def test_adding_and_removing_a_job_is_the_identity_for_2000_tables(table: bytes, path: str) -> None:
    check_identity(table, path)


@pytest.mark.campaign
def test_adding_and_removing_a_job_is_the_identity_for_20000_tables() -> None:
    seen: set[bytes] = set()

    @settings(
        max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(tables, paths)
    def check(table: bytes, path: str) -> None:
        seen.add(table)
        check_identity(table, path)

    check()
    print(f"20000 tables, {len(seen)} of them different, came back byte for byte")


def test_a_block_holds_absolute_quoted_paths_and_stands_at_the_top() -> None:
    table = b"PATH=/elsewhere\n0 3 * * * backup"

    assert crontab_block.replace_job(table, NAME, JOB) == BLOCK + table


def test_a_block_that_was_moved_is_changed_where_it_stands() -> None:
    table = b"A=1\n" + BLOCK + b"0 3 * * * backup\n"

    changed = crontab_block.replace_job(table, NAME, Job("@daily", JOB.arguments))

    assert changed == table.replace(b"*/10 * * * *", b"@daily")


def test_a_mark_within_a_line_is_no_mark() -> None:
    table = b"echo " + BEGIN + b"## END adras /opt/adras/config.json\n"

    assert crontab_block.replace_job(BLOCK + table, NAME, None) == table
    assert crontab_block.replace_job(table + BLOCK, NAME, None) == table


def test_two_installations_have_blocks_of_their_own() -> None:
    both = crontab_block.replace_job(BLOCK, OTHER, JOB)

    assert crontab_block.other_installations(both, NAME) == [OTHER]
    assert crontab_block.replace_job(both, OTHER, None) == BLOCK
    assert crontab_block.read_job(crontab_block.replace_job(both, NAME, None), OTHER) == JOB


@pytest.mark.parametrize(
    ("line", "expression", "paused_since"),
    [
        (b"0 6\t* * mon-fri '/a b/automate.sh'\n", "0 6 * * mon-fri", None),
        (b"@hourly '/a b/automate.sh'\n", "@hourly", None),
        (b"#*/10 * * * * '/a b/automate.sh'\n", "*/10 * * * *", ""),
        (b"# */10 * * * * '/a b/automate.sh'\n", "*/10 * * * *", ""),
        (b"# paused 2026-01-02T03:04:05Z @daily '/a b/automate.sh'\n", "@daily",
         "2026-01-02T03:04:05Z"),
    ],
)  # fmt: skip
def test_a_line_edited_by_hand_is_still_read(
    line: bytes, expression: str, paused_since: str | None
) -> None:
    assert crontab_block.parse_job_line(line) == Job(
        expression, ("/a b/automate.sh",), paused_since
    )


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        (BEGIN + JOB_LINE, "lines 1"),
        (JOB_LINE + END, "lines 2"),
        (END + JOB_LINE + BEGIN, "lines 1, 3"),
        (BLOCK + BLOCK, "lines 1, 3, 4, 6"),
        (BEGIN + BLOCK, "lines 1, 2, 4"),
        (BEGIN + END, "lines 1, 2"),
        (BEGIN + JOB_LINE + b"0 3 * * * mine\n" + END, "lines 1, 4"),
        (BEGIN + b"0 3 * * * mine\n" + END, "lines 1, 3"),
        (BLOCK.replace(b"\n", b"\r\n"), "lines 1, 3"),
        (b"x\n" + BLOCK.rstrip(), "lines 2, 4"),
        (b" " + BLOCK, "lines 1, 3"),
        (b"x" + BLOCK, "lines 3"),
        (BEGIN + JOB_LINE.replace(b"sh'", b"sh") + END, "lines 1, 3"),
    ],
)
def test_a_damaged_block_is_refused_with_its_lines_and_a_way_out(table: bytes, lines: str) -> None:
    for job in (JOB, None):
        with pytest.raises(CrontabError, match=rf"{lines}\).*crontab -e.*install` again"):
            crontab_block.replace_job(table, NAME, job)


def test_the_damaged_block_of_another_installation_is_left_alone() -> None:
    table = b"# BEGIN adras /srv/adras/config.json\n0 3 * * * mine\n"

    assert crontab_block.replace_job(table, NAME, JOB) == BLOCK + table


@pytest.mark.parametrize("path", ["/a\nb", "/a\rb", "/a\tb", "/a\x7fb"])
def test_a_path_with_a_control_character_is_refused(path: str) -> None:
    with pytest.raises(CrontabError, match="move or rename it"):
        crontab_block.format_block(f"{path}/config.json", JOB)
    with pytest.raises(CrontabError, match="move or rename it"):
        crontab_block.format_block(NAME, Job(JOB.expression, (f"{path}/automate.sh",)))


def test_a_command_is_as_long_as_cron_takes_it_and_no_longer() -> None:
    exact = Job("@daily", ("/" + "a" * 995,))

    assert crontab_block.format_job_line(exact) == b"@daily '/" + b"a" * 995 + b"'\n"
    with pytest.raises(CrontabError, match="999 bytes long, and cron takes 998"):
        crontab_block.format_job_line(Job("@daily", ("/" + "a" * 996,)))


def run_by_cron(command: bytes, *, halves_backslashes: bool) -> list[bytes]:
    """Run a command like cron, by the shell and up to a bare %, and return the arguments."""
    kept = bytearray()
    position = 0
    while position < len(command):
        byte, following = command[position : position + 1], command[position + 1 : position + 2]
        special = b"%\\" if halves_backslashes else b"%"
        if byte == b"\\" and following:
            kept += following if following in special else byte + following
            position += 2
            continue
        if byte == b"%":
            break
        kept += byte
        position += 1
    script = b'printf "%s\\0" ' + bytes(kept)
    done = subprocess.run(
        ["/usr/bin/env", "-i", "/bin/sh", "-c", script], cwd="/", capture_output=True, check=True
    )
    return done.stdout.split(b"\0")[:-1]


NASTY = ["/a b", "/100%", "/it's", '/"q"', "/né", "/$HOME", "/`id`", "/a\\%b", "/a\\\\b", "/a\\'b",
         "/\\", "/!x", "/#x", "/-x", "/a;b&c|d", "/*?[]{}~", "/caf\udce9"]  # fmt: skip


@pytest.mark.parametrize("halves_backslashes", [True, False])
@pytest.mark.parametrize("path", [*NASTY, "".join(NASTY)])
def test_the_shell_that_cron_starts_gets_the_very_paths(
    path: str, halves_backslashes: bool
) -> None:
    line = crontab_block.format_job_line(Job("@daily", (path, "--python", path + path)))

    arguments = run_by_cron(
        line.removeprefix(b"@daily ").rstrip(b"\n"), halves_backslashes=halves_backslashes
    )

    assert arguments == [os.fsencode(path), b"--python", os.fsencode(path + path)]


def test_lines_that_start_the_job_beside_its_block_are_found() -> None:
    table = b"A=1\n" + BLOCK + b"# cd x && ./automate.sh\n*/5 * * * * cd /opt && ./automate.sh\n"

    assert crontab_block.find_stray_lines(table) == [6]


def test_mlops_cronjob_is_what_install_prints_for_a_generic_path() -> None:
    folder = Path("/path/to/adras")
    installation = Installation(
        folder / "config.json", folder=folder, python=folder / ".venv/bin/python"
    )
    block = crontab_block.format_block(
        str(installation.config_path), Job("*/10 * * * *", installation.arguments)
    )

    assert (Path(__file__).parents[2] / "mlops_cronjob").read_bytes() == block
