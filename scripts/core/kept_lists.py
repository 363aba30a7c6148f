"""Small lists in folders of an installation: JSON readable by people, decoded strictly."""

from pathlib import Path
from typing import TypeVar

import msgspec

from scripts.core import files
from scripts.core.errors import PipelineError, ReleaseError

Content = TypeVar("Content")


def read(
    path: Path, kind: type[Content], *, title: str, remedy: str,
    error: type[PipelineError] = ReleaseError,
) -> Content | None:  # fmt: skip
    """Return the content of a list, or None if the file is missing.

    Parameters
    ----------
    path : Path
        The file.
    kind : type
        The type of the content.
    title, remedy : str
        For the message about a damaged file: the list, and the sentence that helps.
    error : type of PipelineError
        The error of such a file.

    Returns
    -------
    object or None
        The content, of the type of `kind`.

    Raises
    ------
    ReleaseError
        Or the error given, if the file cannot be read or is damaged. A list that is lost in silence
        would let back what it keeps out.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}.") from cause
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise error(f"{path}, {title}, is damaged: {cause}. {remedy}") from cause


def write(path: Path, content: object) -> None:
    """Write a list whole."""
    encoded = msgspec.json.format(msgspec.json.encode(content), indent=2)
    files.write_whole(path, encoded + b"\n")
