"""Names places in object stores, among the paths of files on this machine."""

import re
from pathlib import PosixPath
from typing import Self

# As Hadoop spells the address of a folder: s3a://bucket/folder; it goes to Spark as it stands.
PATTERN = r"[a-z][a-z0-9+.-]*://\S+"


class Address(PosixPath):
    """A file or folder in an object store, which has a name as a path has, and is nowhere here.

    It is a path so that lists of files, findings and records are the same for both; whoever opens
    or lists files asks first which of the two it is.
    """

    text: str

    def __new__(cls, text: str) -> Self:
        """Take an address as it stands: a path would lose one of its slashes."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __str__(self) -> str:
        """Spell it as it was given."""
        return self.text

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Say how it is made again, also in another process."""
        return type(self), (self.text,)


def is_address(text: str) -> bool:
    """Say whether a text is the address of a place in an object store."""
    return re.fullmatch(PATTERN, text) is not None
