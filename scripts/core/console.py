"""Runs a step as a command: options, logging, one-line errors and exit codes."""

import contextlib
import gc
import logging
import os
import pwd
import re
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from scripts.core import erased_clients, files
from scripts.core.config import Config
from scripts.core.config_file import find_config_path, read_config
from scripts.core.errors import PipelineError

EXIT_IO = 74
PROJECT_PATH = Path(__file__).resolve().parents[2] / "pyproject.toml"
# Control characters, line ends of every kind, and marks of the writing direction.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
# Files of the pipeline describe clients, so they are closed to other accounts.
PRIVATE = 0o077
# What a program of the background adds to its niceness.
NICENESS = 10
log = logging.getLogger(__name__)


class OneLineFormatter(logging.Formatter):
    """Formatter of messages on a single line, since a file name may contain a line end."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """Format a record, with escaped control characters in the message."""
        record.message = CONTROL.sub(
            lambda match: match[0].encode("unicode_escape").decode(), record.message
        )
        return super().formatMessage(record)


def keep_private() -> None:
    """Set the umask, to close new files and folders to other accounts."""
    os.umask(PRIVATE)


def give_way() -> None:
    """Lower the priority of this program: where both want a core, the service answers first."""
    os.nice(NICENESS)


def set_up_logging() -> None:
    """Configure logging to standard error, in UTC, with a line per message."""
    logging.Formatter.converter = time.gmtime
    # Scheduled runs may write to a log at the same time, so each line has the process number.
    process = " [%(process)d]" if os.environ.get("ADRAS_TRIGGER") else ""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        OneLineFormatter(
            f"%(asctime)sZ %(levelname)s{process} %(module)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # Alembic logs every step of a migration; records.database logs the result.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # fontTools logs every letter in a report.
    logging.getLogger("fontTools").setLevel(logging.WARNING)


def run_guarded(main: Callable[[], object]) -> int:
    """Call a function and return the exit code. Log an expected failure in one line."""
    try:
        main()
    except PipelineError as error:
        log.error("%s", error)
        return error.exit_code
    except OSError as error:
        # A full disk or a broken device is no bug. The message names the file; a traceback would
        # not help.
        log.error("Input or output failed: %s.", error)
        return EXIT_IO
    return 0


def actor() -> str:
    """Return the user name, also behind sudo, or the number of a nameless account."""
    behind_sudo = os.environ.get("SUDO_USER")
    if behind_sudo:
        return behind_sudo
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def config_option() -> click.Option:
    """Return the option --config of every command."""
    return click.Option(
        ["--config", "config_path"],
        type=click.Path(path_type=Path, dir_okay=False),
        help="Another config.json (default: $ADRAS_CONFIG, else the one beside scripts).",
    )


def check_reason(_context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Return the reason on one line, or refuse an empty text."""
    if value is None:
        return None
    reason = " ".join(value.split())
    if not reason:
        raise click.BadParameter(
            f'it is empty; say for example {option.opts[0]} "wrong extract of May".'
        )
    return reason


def make_command(
    function: Callable[..., object], options: Sequence[click.Parameter], name: str | None = None
) -> click.Command:
    """Return the command of `function(config_path, **options)`, with --config and --help."""

    def call(config_path: Path | None, **chosen: Any) -> None:
        """Run the function with the settings of the command line, and exit."""
        keep_private()
        set_up_logging()
        # A --config before the name of a subcommand is valid for the subcommand.
        chosen_path = config_path or click.get_current_context().obj
        sys.exit(run_guarded(lambda: function(find_config_path(chosen_path), **chosen)))

    summary = (function.__doc__ or "").strip().split("\n\n")[0]
    return click.Command(name, callback=call, params=[config_option(), *options], help=summary)


def make_group_with_default(
    default: click.Command, commands: Sequence[click.Command]
) -> click.Group:
    """Return a group of commands with a default command."""

    @click.pass_context
    def call(context: click.Context, /, **chosen: Any) -> None:
        """Keep --config for a subcommand, or run the default command."""
        context.obj = chosen["config_path"]
        if context.invoked_subcommand is None:
            context.invoke(default, **chosen)

    return click.Group(
        None, {str(command.name): command for command in commands}, callback=call,
        params=default.params, help=default.help, invoke_without_command=True,
    )  # fmt: skip


def make_command_group(summary: str, commands: Sequence[click.Command]) -> click.Group:
    """Return a group of commands, with help as the default."""

    @click.pass_context
    def call(context: click.Context, /, config_path: Path | None) -> None:
        """Keep --config for the subcommand."""
        context.obj = config_path

    return click.Group(
        None, {str(command.name): command for command in commands}, callback=call,
        params=[config_option()], help=summary, no_args_is_help=True,
    )  # fmt: skip


def choose_command(
    default: click.Command, commands: Sequence[click.Command], words: Sequence[str]
) -> click.Command:
    """Return the group of commands if the first word is a subcommand, or the default command.

    Other than in a group with a default, the default command may have an argument.

    Parameters
    ----------
    default : click.Command
        The command for all other words. Its help lists the commands.
    commands : sequence of click.Command
        The commands of the group.
    words : sequence of str
        The words behind the name of the program.
    """
    rest = words[2:] if words[:1] == ["--config"] else words
    if rest and rest[0] in [command.name for command in commands]:
        return make_command_group(default.help or "", commands)
    listed = ", ".join(str(command.name) for command in commands)
    default.epilog = f"Commands, each with --help: {listed}."
    return default


def read_version() -> str:
    """Return the version of the project, from `pyproject.toml`."""
    return str(tomllib.loads(PROJECT_PATH.read_text())["project"]["version"])


def show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Print the version and exit."""
    if wanted and not context.resilient_parsing:
        click.echo(f"{context.command_path} {read_version()}")
        context.exit()


def run_program(program: click.Command) -> None:
    """Run a command line with the options -h and --version, and exit with the code.

    Parameters
    ----------
    program : click.Command
        A command or a group. Subcommands take -h as well.
    """
    program.context_settings["help_option_names"] = ["-h", "--help"]
    program.params.append(
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=show_version,
            help="Show the version and exit.",
        )
    )
    program.main()


def with_config(main: Callable[..., object], *, exclusive: bool = False) -> Callable[..., object]:
    """Return a function of a config path for `main(config, **options)`, perhaps under the lock."""

    def call_main(config_path: Path, **chosen: Any) -> None:
        """Read the config, and call the function without the rows of erased clients."""
        config: Config = read_config(config_path)
        lock = files.exclusive_lock(config.prod_deployment_path)
        with (
            lock if exclusive else contextlib.nullcontext(),
            erased_clients.refused(erased_clients.find(config.prod_deployment_path)),
        ):
            main(config, **chosen)

    call_main.__doc__ = main.__doc__
    return call_main


def run_as_script(
    main: Callable[..., object], *, exclusive: bool = False, options: Sequence[click.Parameter] = ()
) -> None:
    """Run `main(config, **options)` as a program and exit with the code.

    Parameters
    ----------
    main : callable
        Takes the Config; the first sentence of its docstring is the help text.
    exclusive : bool
        Whether main writes, and therefore holds the lock of the installation.
    options : sequence of click.Parameter
        Further options and arguments, passed to main by name.
    """
    run_program(make_command(with_config(main, exclusive=exclusive), options))


def freeze_gc() -> None:
    """Exempt all present objects from garbage collection, and enable the collector."""
    gc.freeze()
    gc.enable()


@contextmanager
def imports_without_gc() -> Iterator[None]:
    """Disable garbage collection during imports, and exempt the imported modules afterwards.

    Notes
    -----
    Python scans all objects whenever their number has grown by a quarter. For the import of pandas
    and scikit-learn these scans take a third of the CPU time.
    """
    gc.disable()
    try:
        yield
    finally:
        freeze_gc()
