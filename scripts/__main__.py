"""Lists the programs of the package."""

import ast
from pathlib import Path

import click

from scripts.core import console

FOLDER = Path(__file__).parent


def describe_program(path: Path) -> str:
    """Return the first sentence of a module's docstring, without importing the module."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def list_programs() -> list[tuple[str, str]]:
    """Return the command line and the purpose of each program, in order of their names."""
    modules = [path for path in FOLDER.glob("*.py") if not path.stem.startswith("__")]
    # A package that is a program as well.
    programs = {path.parent.name: path for path in FOLDER.glob("*/__main__.py")}
    programs |= {path.stem: path for path in modules}
    return [
        (f"python -m scripts.{name}", describe_program(path))
        for name, path in sorted(programs.items())
    ]


@click.command(help="List the programs. Each one shows its options with --help.")
def main() -> None:
    """List the programs."""
    formatter = click.HelpFormatter(width=80)
    formatter.write_dl(list_programs())
    click.echo(formatter.getvalue(), nl=False)


if __name__ == "__main__":
    console.run_program(main)
