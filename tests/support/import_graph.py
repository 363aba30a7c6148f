"""Which modules and packages a program may ever import, read from the code."""

import ast
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.service import ROOT


@dataclass(frozen=True)
class Import:
    """An import of a module by another, and the function around it or ""."""

    module: str
    by: str
    within: str

    @property
    def gate(self) -> str:
        """Name the function that imports."""
        return f"{self.by}:{self.within}"


def walk(node: ast.AST, within: str = "") -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    """Find the imports below a node, without those for the type checker."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, within
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from walk(child, child.name)
        else:
            yield from walk(child, within)


def find_file(module: str) -> Path | None:
    """Find the file of a module of this project, or None."""
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


@functools.cache
def read_imports(path: Path) -> tuple[Import, ...]:
    """Read the imports of a file."""
    by = str(path.relative_to(ROOT))
    found = []
    for node, within in walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, by, within) for alias in node.names]
        else:
            assert node.module
            found.append(Import(node.module, by, within))
            found += [Import(f"{node.module}.{alias.name}", by, within) for alias in node.names]
    return tuple(found)


def find_packages(module: str, gates: set[str]) -> dict[str, Import]:
    """Find every foreign package that a module may import, and one place of each.

    Parameters
    ----------
    module : str
        Where the program starts.
    gates : set of str
        Functions whose imports do not count, as `scripts/a.py:function`.
    """
    todo, seen, packages = [module], set[Path](), dict[str, Import]()
    while todo:
        path = find_file(todo.pop())
        if path is None or path in seen:
            continue
        seen.add(path)
        for found in read_imports(path):
            top = found.module.partition(".")[0]
            if found.gate in gates or top in sys.stdlib_module_names:
                continue
            if top == "scripts":
                todo.append(found.module)
            else:
                packages.setdefault(top, found)
    return packages
