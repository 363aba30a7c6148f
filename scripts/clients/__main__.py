"""Erases a client from an installation, readmits a client, or lists the erased clients."""

import sys

import click

from scripts.core import console
from scripts.pipeline import erasure


def read_name(_context: click.Context, _argument: click.Parameter, name: str) -> str:
    """Return the name of a client, read from standard input for "-"."""
    found = sys.stdin.readline().rstrip("\r\n") if name == "-" else name
    if not found.strip():
        raise click.BadParameter("it is empty; name a client as on the list.")
    return found.strip()


def make_program() -> click.Group:
    """Return the commands `erase`, `readmit`, `repeat` and `list`."""
    client = click.Argument(["client"], callback=read_name)
    reason = click.Option(
        ["--reason"], required=True, callback=console.check_reason,
        help="Reason, kept in the records; it must not name the client.",
    )  # fmt: skip
    dry = click.Option(
        ["--dry-run", "is_dry"], is_flag=True, help="Show where the client is; change nothing."
    )
    return console.make_command_group(
        "Erase a client from this installation, readmit one, or list the erased clients.",
        [
            console.make_command(
                console.with_config(erasure.erase, exclusive=True), (client, reason, dry), "erase"
            ),
            console.make_command(
                console.with_config(erasure.readmit, exclusive=True), (client, reason), "readmit"
            ),
            console.make_command(
                console.with_config(erasure.repeat, exclusive=True), (reason,), "repeat"
            ),
            console.make_command(console.with_config(erasure.show), (), "list"),
        ],
    )


if __name__ == "__main__":
    console.run_program(make_program())
