"""Backs up and restores the records, and imports the history of an old installation."""

from pathlib import Path

import click

from scripts.core import console
from scripts.records import maintenance


def make_program() -> click.Group:
    """Return the commands `backup PATH`, `restore PATH` and `import-legacy FOLDER`."""
    path = click.Argument(["path"], type=click.Path(dir_okay=False, path_type=Path))
    folder = click.Argument(["folder"], type=click.Path(path_type=Path))
    group = click.Group(
        "database", help="Back up or restore the records of the runs, or import a history."
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
    ):
        group.add_command(command)
    return group


if __name__ == "__main__":
    console.run_program(make_program())
