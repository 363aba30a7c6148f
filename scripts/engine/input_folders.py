"""The folders of client tables: local folders, or folders of an object store read by a cluster."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol

from msgspec import Struct

from scripts.core import capacity, files
from scripts.core.config import Config
from scripts.core.files import KnownFile, RemotePath

# Hashing a larger file takes long enough to keep the digest even if the run is killed later.
LARGE_BYTES = 2**26

# Takes the path and the digest of a file that has just been hashed.
Keep = Callable[[str, KnownFile], None]


def forget(_path: str, _digest: KnownFile) -> None:
    """Ignore the digest of a file."""


class InputFolder(Protocol):
    """A folder of client tables, or a single table, on disk or in an object store."""

    def list_tables(self) -> Sequence[Path]:
        """List the CSV files in name order, also unusable ones."""

    def settle(self, settle_s: float) -> tuple[Sequence[Path], Sequence[Path]]:
        """Return the complete and the growing files, after a short wait for growing files."""

    def scan(
        self, settle_s: float, known: Mapping[str, KnownFile], keep: Keep
    ) -> tuple[Sequence[Path], Sequence[Path], dict[str, KnownFile]]:
        """Return the complete files, the growing files and the digests of the complete files.

        `keep` is called with each large file as soon as it has been hashed.
        """

    def fetch(self, folder: Path) -> Path:
        """Return a local path with the same files, perhaps copies in `folder`."""


def hash_if_changed(path: Path, known: Mapping[str, KnownFile]) -> KnownFile:
    """Return the state and digest of a file, known or hashed after a change of the state."""
    state, before = files.file_state(path), known.get(str(path))
    # An unreadable file is refused later, with the reason. Here the hash of its name stands in.
    # Permissions are no part of the state, so reading is tried again in the next run.
    stand_in = files.digest(path.name.encode())
    is_known = before is not None and before == KnownFile(*state, before.sha256)
    if before is not None and is_known and before.sha256 != stand_in:
        return before
    try:
        # A link is followed here, since its content is new data, too. Reading may refuse it.
        sha256 = files.digest_lines(path.resolve())
    except (OSError, RuntimeError, files.NotRegularError):
        sha256 = stand_in
    return KnownFile(*state, sha256)


class LocalFolder(Struct, frozen=True):
    """A folder of client tables on disk."""

    place: Path

    def list_tables(self) -> Sequence[Path]:
        """List the CSV files in name order, also unusable ones."""
        return files.list_tables(self.place)

    def settle(self, settle_s: float) -> tuple[Sequence[Path], Sequence[Path]]:
        """Return the complete and the growing files, after a short wait for growing files."""
        return files.find_complete_tables(self.place, settle_s)

    def scan(
        self, settle_s: float, known: Mapping[str, KnownFile], keep: Keep
    ) -> tuple[Sequence[Path], Sequence[Path], dict[str, KnownFile]]:
        """Return the complete files, the growing files and the digests of the complete files."""
        settled, growing = self.settle(settle_s)
        digests = {}
        for path in settled:
            digests[str(path)] = digest = hash_if_changed(path, known)
            if digest.n_bytes >= LARGE_BYTES and digest != known.get(str(path)):
                keep(str(path), digest)
        return settled, growing, digests

    def fetch(self, folder: Path) -> Path:
        """Return the folder itself."""
        return self.place


def import_spark() -> ModuleType:
    """Import the engine of a cluster, and return the module."""
    # PySpark and Java are installed for a cluster only.
    from scripts.engine import spark_engine  # noqa: PLC0415

    return spark_engine


def open_folder(place: Path, config: Config) -> InputFolder:
    """Return the folder of a path: local, or in an object store."""
    if isinstance(place, RemotePath) and capacity.is_cluster(config):
        folder: InputFolder = import_spark().open_store(place)
        return folder
    return LocalFolder(place)
