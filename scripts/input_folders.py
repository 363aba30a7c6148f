"""The folders of client tables: on this machine, or in an object store that a cluster reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scripts import durable, engines, inbox
from scripts.addresses import Address
from scripts.config import Config
from scripts.inbox import KnownFile


class InputFolder(Protocol):
    """A folder of client tables, or one table, wherever it is."""

    def list_tables(self) -> Sequence[Path]:
        """List the CSV files in name order, also unusable ones."""

    def settle(self, settle_s: float) -> tuple[Sequence[Path], Sequence[Path]]:
        """Return the complete files and those still being written, waiting once if need be."""

    def scan(
        self, settle_s: float, known: Mapping[str, KnownFile]
    ) -> tuple[Sequence[Path], Sequence[Path], dict[str, KnownFile]]:
        """Return the complete files, the growing ones, and the digest of each complete one."""

    def fetch(self, folder: Path) -> Path:
        """Return a path on this machine with the same files; `folder` is for copies."""


def look_at(path: Path, known: Mapping[str, KnownFile]) -> KnownFile:
    """Return the state and digest of a file, hashing it only if its state has changed."""
    state = inbox.file_state(path)
    before = known.get(str(path))
    if before is not None and (before.n_bytes, before.changed_ns, before.inode) == state:
        return before
    # What cannot be read is refused later, with its reason; here its name stands for it.
    readable = inbox.is_readable(path)
    sha256 = durable.digest_file(path) if readable else durable.digest(str(path).encode())
    return KnownFile(*state, sha256)


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine."""

    place: Path

    def list_tables(self) -> Sequence[Path]:
        """List the CSV files in name order, also unusable ones."""
        return inbox.list_tables(self.place)

    def settle(self, settle_s: float) -> tuple[Sequence[Path], Sequence[Path]]:
        """Return the complete files and those still being written, waiting once if need be."""
        return inbox.settled_tables(self.place, settle_s)

    def scan(
        self, settle_s: float, known: Mapping[str, KnownFile]
    ) -> tuple[Sequence[Path], Sequence[Path], dict[str, KnownFile]]:
        """Return the complete files, the growing ones, and the digest of each complete one."""
        settled, growing = self.settle(settle_s)
        return settled, growing, {str(path): look_at(path, known) for path in settled}

    def fetch(self, folder: Path) -> Path:
        """Return the folder itself."""
        return self.place


def open_folder(place: Path, config: Config) -> InputFolder:
    """Open the folder of the input or of the test data, wherever it is."""
    if isinstance(place, Address) and engines.is_cluster(config):
        # PySpark and Java are for who has a cluster, and for places in an object store only.
        from scripts import sparkstore  # noqa: PLC0415

        return sparkstore.StoreFolder(place)
    return LocalFolder(place)
