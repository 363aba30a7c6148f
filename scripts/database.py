"""Backs up, restores and audits the records, and imports the history of an old installation."""

from pathlib import Path

import click

from scripts.core import console
from scripts.production import audit
from scripts.records import maintenance


def make_program() -> click.Group:
    """Return the commands `backup`, `restore`, `import-legacy` and `audit`."""
    path = click.Argument(["path"], type=click.Path(dir_okay=False, path_type=Path))
    folder = click.Argument(["folder"], type=click.Path(path_type=Path))
    audited = click.Option(
        ["--verify", "path"],
        type=click.Path(dir_okay=False, exists=True, path_type=Path),
        metavar="FILE",
        help="Check an audit for changed, missing and inserted lines instead.",
    )
    group = click.Group(
        "database", help="Back up, restore or audit the records of the runs, or import a history."
    )
    for command in (
        console.make_command(console.with_config(maintenance.backup), (path,), "backup"),
        console.make_command(
            console.with_config(maintenance.restore, exclusive=True), (path,), "restore"
        ),
        console.make_command(
            console.with_config(maintenance.import_legacy, exclusive=True),
            (folder,),
            "import-legacy",
        ),
        console.make_command(console.with_config(audit.write_or_verify), (audited,), "audit"),
    ):
        group.add_command(command)
    return group


if __name__ == "__main__":
    console.run_program(make_program())
