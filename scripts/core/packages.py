"""Imports of packages missing in an installation for serving alone."""

from collections.abc import Iterator
from contextlib import contextmanager

from scripts.core.errors import NotInstalledError


@contextmanager
def explaining_missing() -> Iterator[None]:
    """Explain an import that fails for want of a package.

    Raises
    ------
    NotInstalledError
        If a package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise NotInstalledError(
            f"This needs the package {error.name}, which is not installed. The packages of"
            " requirements-serve.lock are for the service and the worklist; for everything else:"
            " python -m pip install --require-hashes -r requirements.lock."
        ) from error
