"""Lists, identifies and brings the files of an object store, by Hadoop, which has the keys."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import Struct
from py4j.java_gateway import is_instance_of
from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.errors import PySparkException

from scripts import cluster, durable, inbox
from scripts.addresses import Address
from scripts.errors import DatasetError
from scripts.inbox import KnownFile

# As Hadoop has it: the name of what is no data, such as _SUCCESS, or is still being written.
HIDDEN = (".", "_")
NO_INODE = 0

log = logging.getLogger(__name__)


class Stored(Struct, frozen=True):
    """What the store says of a file; the ETag is "" where it knows none."""

    n_bytes: int
    changed_ns: int
    etag: str
    is_file: bool

    @property
    def state(self) -> inbox.State:
        """Spell it as the state of a file of this machine."""
        return self.n_bytes, self.changed_ns, NO_INODE


@contextmanager
def reaching(place: Address) -> Iterator[tuple[Any, Any, Any]]:
    """Give Java, the file system of a place, and the place as Hadoop has it.

    Raises
    ------
    DatasetError
        If Hadoop does not get there.
    """
    try:
        jvm, settings = cluster.open_hadoop()
        path = jvm.org.apache.hadoop.fs.Path(str(place))
        yield jvm, path.getFileSystem(settings), path
    except (PySparkException, Py4JError) as error:
        raise DatasetError(
            f"{place} cannot be read: {cluster.shorten_cause(error)}. Expected an address that"
            " Hadoop knows, with its connector and keys in Spark's spark-defaults.conf; README,"
            ' section "A cluster".'
        ) from error


def describe(status: Any) -> Stored:
    """Take over what Hadoop says of a file."""
    knows_tag = is_instance_of(SparkContext._gateway, status, "org.apache.hadoop.fs.EtagSource")
    etag = (status.getEtag() or "") if knows_tag else ""
    changed_ns = status.getModificationTime() * 10**6
    return Stored(status.getLen(), changed_ns, etag, bool(status.isFile()))


def look(place: Address) -> dict[Address, Stored]:
    """List the CSV files of a folder in name order (or the one file given), also unusable ones.

    Names that start with "." or "_" are left out: that is how Hadoop marks what is no data.
    """
    with reaching(place) as (_, system, path):
        found = {Address(s.getPath().toString()): describe(s) for s in system.listStatus(path)}
    tables = [
        path
        for path in found
        if path.suffix.casefold() == ".csv" and not path.name.startswith(HIDDEN)
    ]
    return {path: found[path] for path in sorted(tables, key=lambda path: path.name)}


def look_again(paths: Sequence[Address]) -> dict[Address, Stored]:
    """Tell how files are now that were listed together before; those that are gone are left out.

    Of several the folder is listed at once, since each question is a request to the store.
    """
    if not paths:
        return {}
    if len(paths) > 1:
        return look(Address(str(paths[0]).removesuffix(paths[0].name)))
    with reaching(paths[0]) as (_, system, path):
        return {paths[0]: describe(system.getFileStatus(path))}


def read_start(path: Address, n_bytes: int) -> bytes:
    """Read the first bytes of a file, at most so many."""
    with reaching(path) as (_, system, place):
        stream = system.open(place)
        try:
            return bytes(stream.readNBytes(n_bytes))
        finally:
            stream.close()


def identify(path: Address, stored: Stored, known: Mapping[str, KnownFile]) -> KnownFile:
    """Identify a file by what the store says of it; its content is not read.

    An ETag or a checksum tells contents apart, whatever the name. A store without them has the
    name and the time of change.
    """
    before, said = known.get(str(path)), stored.etag
    if not said:
        if before is not None and before == KnownFile(*stored.state, before.sha256):
            return before
        with reaching(path) as (_, system, place):
            checksum = system.getFileChecksum(place) if stored.is_file else None
        said = f"{path} {stored.changed_ns}" if checksum is None else checksum.toString()
    return KnownFile(*stored.state, durable.digest(f"{said} {stored.n_bytes}".encode()))


def look_into(
    place: Address, settle_s: float, known: Mapping[str, KnownFile]
) -> tuple[list[Path], list[Path], dict[str, KnownFile]]:
    """Find complete and growing files, waiting once if need be, and identify the complete ones."""
    found: dict[Address, Stored] = {}

    def list_states() -> dict[Path, inbox.State]:
        found.clear()
        found.update(look(place))
        return {path: stored.state for path, stored in found.items()}

    settled, growing = inbox.settle(list_states, settle_s)
    seen = {str(p): identify(p, s, known) for p, s in found.items() if p in settled}
    return settled, growing, seen


def bring(place: Address, folder: Path) -> None:
    """Make a folder of this machine hold the files of a place, bringing those that differ.

    Parameters
    ----------
    place : Address
        A folder, or one file.
    folder : Path
        What else is in it is removed.
    """
    found = {path.name: (path, stored) for path, stored in look(place).items() if stored.is_file}
    durable.make_folder(folder)
    for path in folder.iterdir():
        if path.name not in found:
            durable.remove(path)
    for name, (address, stored) in found.items():
        path = folder / name
        if path.exists() and inbox.file_state(path)[:2] == stored.state[:2]:
            continue
        temporary = path.with_name(f".{name}{durable.TEMPORARY_SUFFIX}")
        with reaching(address) as (jvm, system, source):
            goal = jvm.org.apache.hadoop.fs.Path(f"file://{temporary}")
            # As a plain file, without one of checksums beside it.
            system.copyToLocalFile(False, source, goal, True)
        os.utime(temporary, ns=(stored.changed_ns, stored.changed_ns))
        temporary.replace(path)
        log.info("Brought %s to %s.", address, folder)


@dataclass(frozen=True)
class StoreFolder:
    """A folder of an object store, or one file there."""

    place: Address

    def list_tables(self) -> Sequence[Path]:
        """List the CSV files in name order, also unusable ones."""
        return [*look(self.place)]

    def settle(self, settle_s: float) -> tuple[Sequence[Path], Sequence[Path]]:
        """Return the complete files and those still being written, waiting once if need be."""
        settled, growing, _ = look_into(self.place, settle_s, {})
        return settled, growing

    def scan(
        self, settle_s: float, known: Mapping[str, KnownFile], _keep: object = None
    ) -> tuple[Sequence[Path], Sequence[Path], dict[str, KnownFile]]:
        """Return the complete files, the growing ones, and the digest of each complete one."""
        return look_into(self.place, settle_s, known)

    def fetch(self, folder: Path) -> Path:
        """Make a folder of this machine hold the same files, and return it."""
        bring(self.place, folder)
        return folder
