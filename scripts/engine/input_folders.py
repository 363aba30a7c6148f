"""The folders of client tables: on this machine, or in an object store that a cluster reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scripts.core import capacity, files
from scripts.core.config import Config
from scripts.core.files import KnownFile, RemotePath

# Hashing so much takes long enough that a run which is killed later must not do it again.
LARGE_BYTES = 2**26

# Takes the path of a file that has just been hashed, and its digest.
Keep = Callable[[str, KnownFile], None]


def forget(_path: str, _found: KnownFile) -> None:
    """Keep nothing of a file that was hashed."""


class InputFolder(Protocol):
    """A folder of client tables, or one table, wherever it is."""

    def list_tables(self) -> Sequence[Path]:
        """List the CSV files in name order, also unusable ones."""

    def settle(self, settle_s: float) -> tuple[Sequence[Path], Sequence[Path]]:
        """Return the complete files and those still being written, waiting once if need be."""

    def scan(
        self, settle_s: float, known: Mapping[str, KnownFile], keep: Keep
    ) -> tuple[Sequence[Path], Sequence[Path], dict[str, KnownFile]]:
        """Return the complete files, the growing ones, and the digest of each complete one.

        `keep` is told of each large file as soon as it has been hashed.
        """

    def fetch(self, folder: Path) -> Path:
        """Return a path on this machine with the same files; `folder` is for copies."""


def look_at(path: Path, known: Mapping[str, KnownFile]) -> KnownFile:
    """Give the state and digest of a file, hashing it only if its state has changed."""
    state, before = files.file_state(path), known.get(str(path))
    # What cannot be read is refused later, with its reason; here its name stands for it. Whether
    # it can be read is no part of its state, so it is tried again.
    stand_in = files.digest(path.name.encode())
    is_known = before is not None and before == KnownFile(*state, before.sha256)
    if before is not None and is_known and before.sha256 != stand_in:
        return before
    try:
        # A link is followed here, since its content is new data, too; reading judges it.
        sha256 = files.digest_lines(path.resolve())
    except (OSError, RuntimeError, files.NotRegularError):
        sha256 = stand_in
    return KnownFile(*state, sha256)


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine."""

    place: Path

    def list_tables(self) -> Sequence[Path]:
        """List the CSV files in name order, also unusable ones."""
        return files.list_tables(self.place)

    def settle(self, settle_s: float) -> tuple[Sequence[Path], Sequence[Path]]:
        """Return the complete files and those still being written, waiting once if need be."""
        return files.find_complete_tables(self.place, settle_s)

    def scan(
        self, settle_s: float, known: Mapping[str, KnownFile], keep: Keep
    ) -> tuple[Sequence[Path], Sequence[Path], dict[str, KnownFile]]:
        """Return the complete files, the growing ones, and the digest of each complete one."""
        settled, growing = self.settle(settle_s)
        seen = {}
        for path in settled:
            seen[str(path)] = found = look_at(path, known)
            if found.n_bytes >= LARGE_BYTES and found != known.get(str(path)):
                keep(str(path), found)
        return settled, growing, seen

    def fetch(self, folder: Path) -> Path:
        """Return the folder itself."""
        return self.place


def open_folder(place: Path, config: Config) -> InputFolder:
    """Open the folder of the input or of the test data, wherever it is."""
    if isinstance(place, RemotePath) and capacity.is_cluster(config):
        # PySpark and Java are for who has a cluster, and for places in an object store only.
        from scripts.spark import object_store as sparkstore  # noqa: PLC0415

        return sparkstore.StoreFolder(place)
    return LocalFolder(place)
