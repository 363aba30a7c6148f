"""The erased clients of an installation, whose rows are refused, known by keyed hashes alone.

The list lies beside the key and not in the records, so that restored records forget no erasure, and
so that every program can read it.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec import Struct

from scripts.core import kept_lists, keys
from scripts.core.errors import ReleaseError

# Beside the key, in the deployment folder.
LIST = ".adras.erased.json"
PURPOSE = "adras client"
N_HASH_BYTES = 8
# Twelve characters. Hashes of earlier versions, without a key, have sixteen.
N_LOGGED_BYTES = 9
# The reason of a row that is rejected because its client was erased.
REASON = "its client was erased"
REMEDY = (
    "Put back a copy of the file, or remove it and erase the clients again:"
    " python -m scripts.clients list."
)


class ErasedList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the list: the keyed hashes of the erased clients, in hexadecimal."""

    clients: tuple[str, ...] = ()


@dataclass(frozen=True)
class ErasedClients:
    """The erased clients of an installation, a client or more."""

    key: bytes = field(repr=False)
    hashes: frozenset[str]

    def has(self, name: str) -> bool:
        """Return whether the client of a name was erased."""
        return hash_client(self.key, name) in self.hashes

    def match(self, names: Sequence[str]) -> list[bool]:
        """Return a mask of the names of erased clients."""
        erased = {name for name in set(names) if self.has(name)}
        return [name in erased for name in names]


# The erased clients whose rows the readers of tables refuse, None where there are none.
REFUSED: ContextVar[ErasedClients | None] = ContextVar("REFUSED", default=None)


def hash_client(key: bytes, name: str) -> str:
    """Return the keyed hash of a client's name, in hexadecimal.

    Nobody without the key can test a guess of the name.
    """
    content = name.encode("utf-8", "surrogatepass")
    return keys.keyed_hash(key, content, purpose=PURPOSE, n_bytes=N_HASH_BYTES).hex()


def hash_identifiers(key: bytes, identifiers: Sequence[str]) -> str:
    """Return the keyed hash of a client's identifiers, like the prediction log."""
    encoded = msgspec.json.encode(list(identifiers))
    digest = keys.keyed_hash(key, encoded, purpose=PURPOSE, n_bytes=N_LOGGED_BYTES)
    return base64.urlsafe_b64encode(digest).decode()


def read_list(prod_folder: Path) -> tuple[str, ...]:
    """Return the keyed hashes of the erased clients, () without a list.

    Raises
    ------
    ReleaseError
        If the list is damaged: without it, an erased client could come back.
    """
    found = kept_lists.read(
        prod_folder / LIST, ErasedList, title="the list of the erased clients", remedy=REMEDY
    )
    return () if found is None else found.clients


def write_list(prod_folder: Path, hashes: Iterable[str]) -> None:
    """Write the list of the erased clients."""
    kept_lists.write(prod_folder / LIST, ErasedList(clients=tuple(sorted(set(hashes)))))


def find(prod_folder: Path) -> ErasedClients | None:
    """Return the erased clients of an installation, None if there are none.

    Raises
    ------
    ReleaseError
        If the list or the key of the installation is damaged, or the key is missing.
    """
    hashes = read_list(prod_folder)
    if not hashes:
        return None
    key = keys.find_key(prod_folder)
    if key is None:
        raise ReleaseError(
            f"{prod_folder / keys.KEY} is missing, and without it the erased clients of"
            f" {prod_folder / LIST} are not known. Put back a copy of the key."
        )
    return ErasedClients(key, frozenset(hashes))


@contextmanager
def refused(erased: ErasedClients | None) -> Iterator[None]:
    """Let the readers of tables refuse the rows of erased clients, or of nobody with None."""
    token = REFUSED.set(erased)
    try:
        yield
    finally:
        REFUSED.reset(token)
