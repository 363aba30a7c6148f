"""The command line of the records: back up, restore, take over a history."""

from pathlib import Path

import click

from scripts import console, upkeep


def make_program() -> click.Group:
    """Make `python -m scripts.database backup PATH | restore PATH | import-legacy FOLDER`."""
    path = click.Argument(["path"], type=click.Path(dir_okay=False, path_type=Path))
    folder = click.Argument(["folder"], type=click.Path(path_type=Path))
    group = click.Group("database", help="Back up, restore or take over the records of the runs.")
    for command in (
        console.make_command(console.with_config(upkeep.backup), (path,), "backup"),
        console.make_command(
            console.with_config(upkeep.restore, exclusive=True), (path,), "restore"
        ),
        console.make_command(
            console.with_config(upkeep.import_legacy, exclusive=True), (folder,), "import-legacy"
        ),
    ):
        group.add_command(command)
    return group
