"""A step as a program: logging on, expected failures in one line, exit code.

Keeps Python's garbage collector away from imported modules, which are never garbage.
"""

import contextlib
import gc
import logging
import os
import pwd
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from scripts.core import files
from scripts.core.config import Config
from scripts.core.config_file import find_config_path, read_config
from scripts.core.errors import PipelineError

EXIT_IO = 74
# Line ends of every kind, and what turns the direction of what follows.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
# Of what a program writes, nothing is for other accounts: all of it tells of clients.
PRIVATE = 0o077
log = logging.getLogger(__name__)


class OneLineFormatter(logging.Formatter):
    """Format each message as one line: a file's name with a line end must not look like a line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """Format a record with the control characters of its message escaped."""
        record.message = CONTROL.sub(
            lambda found: found[0].encode("unicode_escape").decode(), record.message
        )
        return super().formatMessage(record)


def keep_private() -> None:
    """Let every file and folder that this program makes be its own account's only."""
    os.umask(PRIVATE)


def set_up_logging() -> None:
    """Log to standard error, in UTC, a line for each message."""
    logging.Formatter.converter = time.gmtime
    # A scheduler's runs share a log, also two at the same time: there each line names its process.
    process = " [%(process)d]" if os.environ.get("ADRAS_TRIGGER") else ""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        OneLineFormatter(
            f"%(asctime)sZ %(levelname)s{process} %(module)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # It tells every step of a change of the tables; `storage` tells that they changed.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It tells every letter that it puts into a report.
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    # Its warnings hold whole addresses, and that of a receiver of alerts is a secret.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)


def run_guarded(work: Callable[[], object]) -> int:
    """Do the work of a program; log an expected failure in one line and return its exit code."""
    try:
        work()
    except PipelineError as error:
        log.error("%s", error)
        return error.exit_code
    except OSError as error:
        # A full disk or a broken device is no bug: the message says which file, and that is all
        # a reader can use.
        log.error("Input or output failed: %s.", error)
        return EXIT_IO
    return 0


def actor() -> str:
    """Name the person at work, also behind sudo; the number where the account has no name."""
    behind_sudo = os.environ.get("SUDO_USER")
    if behind_sudo:
        return behind_sudo
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def format_columns(rows: Sequence[Sequence[str]]) -> str:
    """Align rows of text in columns, two spaces apart."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def config_option() -> click.Option:
    """Make the option --config, which every program has."""
    return click.Option(
        ["--config", "config_path"],
        type=click.Path(path_type=Path, dir_okay=False),
        help="Another config.json (default: $ADRAS_CONFIG, else the one beside scripts).",
    )


def check_reason(_context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Refuse a reason that says nothing, and keep it on one line."""
    if value is None:
        return None
    reason = " ".join(value.split())
    if not reason:
        raise click.BadParameter(
            f'it is empty; say for example {option.opts[0]} "wrong extract of May".'
        )
    return reason


def make_command(
    work: Callable[..., object], options: Sequence[click.Parameter], name: str | None = None
) -> click.Command:
    """Make the command line of `work(config_path, **options)`, with --config and --help."""

    def call(config_path: Path | None, **chosen: Any) -> None:
        keep_private()
        set_up_logging()
        # Given before the name of a subcommand, --config counts for it.
        chosen_path = config_path or click.get_current_context().obj
        sys.exit(run_guarded(lambda: work(find_config_path(chosen_path), **chosen)))

    summary = (work.__doc__ or "").strip().split("\n\n")[0]
    return click.Command(name, callback=call, params=[config_option(), *options], help=summary)


def make_group_with_default(plain: click.Command, commands: Sequence[click.Command]) -> click.Group:
    """Make a command line with subcommands that, without one, does what the plain command does."""

    @click.pass_context
    def call(context: click.Context, /, **chosen: Any) -> None:
        context.obj = chosen["config_path"]
        if context.invoked_subcommand is None:
            context.invoke(plain, **chosen)

    return click.Group(
        None, {str(command.name): command for command in commands}, callback=call,
        params=plain.params, help=plain.help, invoke_without_command=True,
    )  # fmt: skip


def make_command_group(summary: str, commands: Sequence[click.Command]) -> click.Group:
    """Make a command line that does nothing without a subcommand but show its help."""

    @click.pass_context
    def call(context: click.Context, /, config_path: Path | None) -> None:
        context.obj = config_path

    return click.Group(
        None, {str(command.name): command for command in commands}, callback=call,
        params=[config_option()], help=summary, no_args_is_help=True,
    )  # fmt: skip


def with_config(main: Callable[..., object], *, exclusive: bool = False) -> Callable[..., object]:
    """Let `main(config, **options)` be called with the path of the config, under the lock."""

    def work(config_path: Path, **chosen: Any) -> None:
        config: Config = read_config(config_path)
        lock = files.exclusive_lock(config.prod_deployment_path)
        with lock if exclusive else contextlib.nullcontext():
            main(config, **chosen)

    work.__doc__ = main.__doc__
    return work


def run_as_script(
    main: Callable[..., object], *, exclusive: bool = False, options: Sequence[click.Parameter] = ()
) -> None:
    """Run `main(config, **options)` as a program and exit with its code.

    Parameters
    ----------
    main : callable
        Takes the Config; the first sentence of its docstring is the help text.
    exclusive : bool
        Hold the installation's lock meanwhile: for everything that writes.
    options : sequence of click.Parameter
        Further options and arguments, handed to main by name.
    """
    make_command(with_config(main, exclusive=exclusive), options).main()


def freeze_gc() -> None:
    """Exempt all objects made so far from garbage collection, and collect later ones."""
    gc.freeze()
    gc.enable()


@contextmanager
def imports_without_gc() -> Iterator[None]:
    """Import modules without garbage collection, and exempt them from later ones.

    Notes
    -----
    Python looks through all objects whenever their number has grown by a quarter. For an import of
    pandas and scikit-learn that is a third of the CPU time.
    """
    gc.disable()
    try:
        yield
    finally:
        freeze_gc()
