"""Small lists in the deployment folder: JSON readable by people, decoded strictly."""

from pathlib import Path
from typing import TypeVar

import msgspec

from scripts.core import files
from scripts.core.errors import ReleaseError

Content = TypeVar("Content")


def read(path: Path, kind: type[Content], *, title: str, remedy: str) -> Content | None:
    """Return the content of a list, or None if the file is missing.

    Parameters
    ----------
    path : Path
        The file.
    kind : type
        The type of the content.
    title, remedy : str
        For the message about a damaged file: the list, and the sentence that helps.

    Returns
    -------
    object or None
        The content, of the type of `kind`.

    Raises
    ------
    ReleaseError
        If the file cannot be read or is damaged. A list that is lost in silence would let back
        what it keeps out.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{path}, {title}, is damaged: {error}. {remedy}") from error


def write(path: Path, content: object) -> None:
    """Write a list whole."""
    encoded = msgspec.json.format(msgspec.json.encode(content), indent=2)
    files.write_whole(path, encoded + b"\n")
