"""The files that runs have read, and what was known of those hashed before."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.database import Row
from scripts.inbox import KnownFile
from scripts.tables import Role, digests, files


def known_files(connection: Connection) -> dict[str, KnownFile]:
    """List the files hashed before, by path."""
    rows = connection.execute(sa.select(digests)).mappings()
    return {
        row["path"]: KnownFile(row["n_bytes"], row["changed_ns"], int(row["inode"]), row["sha256"])
        for row in rows
    }


def replace_known_files(connection: Connection, known: Mapping[str, KnownFile]) -> None:
    """Remember the files hashed now, and forget all others."""
    connection.execute(digests.delete())
    # An inode is an unsigned number of 64 bits, which no integer column holds.
    rows = [
        {"path": path, **asdict(file), "inode": str(file.inode)} for path, file in known.items()
    ]
    if rows:
        connection.execute(digests.insert(), rows)


def replace_known_file(connection: Connection, path: str, file: KnownFile) -> None:
    """Remember one file hashed now, and nothing else of it."""
    connection.execute(digests.delete().where(digests.c.path == path))
    row = {"path": path, **asdict(file), "inode": str(file.inode)}
    connection.execute(digests.insert(), [row])


def record_files(connection: Connection, run_id: int, rows: Sequence[Row]) -> None:
    """Record the files that a run read; the keys are columns of `files`."""
    if rows:
        connection.execute(files.insert(), [{"run_id": run_id, **row} for row in rows])


def replace_files(connection: Connection, run_id: int, role: Role, rows: Sequence[Row]) -> None:
    """Record again the files that a run read for a role, knowing more of them."""
    connection.execute(files.delete().where(files.c.run_id == run_id, files.c.role == role))
    record_files(connection, run_id, [{"role": role, **row} for row in rows])


def files_of_run(connection: Connection, run_id: int) -> list[Row]:
    """List the files that a run read, in the order in which it read them."""
    query = sa.select(files).where(files.c.run_id == run_id).order_by(files.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]
