"""Keeps imports from what no run needs: looking for garbage in modules, and working out help."""

import gc
import inspect
from collections.abc import Iterator
from contextlib import contextmanager

GETDOC = inspect.getdoc


def set_aside() -> None:
    """Never look again through what is there now, and from now on through what is made."""
    gc.freeze()
    gc.enable()


def no_help(_: object) -> None:
    """Say that something has no documentation."""


def begin() -> None:
    """Import from here on without looking for garbage, and without help."""
    gc.disable()
    inspect.getdoc = no_help  # type: ignore[assignment] # For a while it says less.


def end() -> None:
    """Import as usual again, and never look through what has come."""
    inspect.getdoc = GETDOC
    set_aside()


@contextmanager
def importing() -> Iterator[None]:
    """Import what stays, without looking for garbage in it, then or later, and without its help.

    Notes
    -----
    Python looks through everything it has made whenever that has grown by a quarter. Modules are
    never garbage, and of importing pandas and scikit-learn that is a third of the CPU time.

    Scipy and matplotlib take the documentation of hundreds of functions apart and put it together
    anew while they are imported, a quarter of what is left. They ask for it by `inspect.getdoc`;
    what they import here has shorter help for those functions, in this process, and works the same.
    """
    begin()
    try:
        yield
    finally:
        end()
