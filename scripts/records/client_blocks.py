"""Blocks of scored clients in the database: written in bulk, read by bucket."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct, field
from sqlalchemy.engine import Connection, Engine

from scripts.core import progress
from scripts.records import database
from scripts.records.tables import BlockKind, client_blocks

# A transaction of so many bytes keeps readers out for a few milliseconds. On SQLite it also stays
# below the page cache, whose overflow would keep them out until the end of the transaction.
BATCH_BYTES = 2**20
# So many blocks are read or removed at a time.
BATCH_BLOCKS = 64
# So many are removed in a transaction, whose commit keeps readers waiting.
REMOVED_BLOCKS = 64
# A row takes so many bytes beside its texts.
ROW_BYTES = 64


class ClientBlock(Struct, frozen=True):
    """A block of clients: the packed columns, and the packed names if the kind has names."""

    kind: BlockKind
    bucket: int
    n_clients: int
    content: bytes
    names: bytes | None = None


def insert_rows(connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows in bulk: with COPY on PostgreSQL, with one prepared statement on SQLite.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction.
    table : sqlalchemy.Table
        The table.
    rows : sequence of dict
        The values by column, the same columns in every row.
    """
    if not rows:
        return
    names = list(rows[0])
    binders = [table.c[name].type.dialect_impl(connection.dialect) for name in names]
    convert = [kind.bind_processor(connection.dialect) for kind in binders]
    values = [
        [
            row[name] if to is None else to(row[name])
            for name, to in zip(names, convert, strict=True)
        ]
        for row in rows
    ]
    insert_values(connection, table, names, values)


def insert_values(
    connection: Connection, table: sa.Table, names: Sequence[str], values: Iterable[Sequence[Any]]
) -> None:
    """Insert rows of values as the database stores them, in the order of the names of columns."""
    quoted = ", ".join(f'"{name}"' for name in names)
    if connection.dialect.name == "postgresql":
        driver: Any = connection.connection.driver_connection
        with (
            driver.cursor() as cursor,
            cursor.copy(f"COPY {table.name} ({quoted}) FROM STDIN") as copy,
        ):
            for row in values:
                copy.write_row(row)
        return
    places = ", ".join("?" * len(names))
    # Names of tables and columns are those of `records.tables`.
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({quoted}) VALUES ({places})",  # noqa: S608
        [tuple(row) for row in values],
    )


class BulkWriter(Struct):
    """A writer of rows in short transactions, for short waits of readers."""

    engine: Engine
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    n_bytes: int = 0

    def put(self, table: sa.Table, row: dict[str, Any], n_bytes: int) -> None:
        """Add a row, and write once there are enough."""
        self.rows.setdefault(table.name, []).append(row)
        self.n_bytes += n_bytes
        if self.n_bytes >= BATCH_BYTES:
            self.flush()

    def put_block(self, scoring_id: int, block: ClientBlock) -> None:
        """Add a block of a scoring."""
        row = {
            "scoring_id": scoring_id, "kind": str(block.kind), "bucket": block.bucket,
            "n_clients": block.n_clients, "names": block.names, "content": block.content,
        }  # fmt: skip
        self.put(client_blocks, row, len(block.content) + len(block.names or b"") + ROW_BYTES)

    def flush(self) -> None:
        """Write the waiting rows in a transaction."""
        if not self.rows:
            return
        tables = client_blocks.metadata.tables
        with database.writing(self.engine, is_one_of_many=True) as connection:
            for name, rows in self.rows.items():
                insert_rows(connection, tables[name], rows)
        progress.advance()
        self.rows, self.n_bytes = {}, 0


def select_blocks(
    scoring_ids: Iterable[int], kinds: Iterable[BlockKind], *columns: str
) -> sa.Select[Any]:
    """Return the query for blocks of scorings, by bucket."""
    chosen = [client_blocks.c[name] for name in ("scoring_id", "kind", "bucket", *columns)]
    return (
        sa.select(*chosen)
        .where(client_blocks.c.scoring_id.in_(list(scoring_ids)))
        .where(client_blocks.c.kind.in_([str(kind) for kind in kinds]))
        .order_by(client_blocks.c.bucket)
    )


def read_buckets(
    connection: Connection,
    scoring_id: int,
    kinds: Iterable[BlockKind],
    buckets: Sequence[int],
    *columns: str,
) -> Iterator[sa.Row[Any]]:
    """Yield blocks of some buckets of a scoring, by bucket, some at a time."""
    query = select_blocks([scoring_id], kinds, *columns)
    for start in range(0, len(buckets), BATCH_BLOCKS):
        wanted = list(buckets[start : start + BATCH_BLOCKS])
        yield from connection.execute(query.where(client_blocks.c.bucket.in_(wanted)))


def bucket_sizes(
    connection: Connection,
    scoring_id: int,
    kind: BlockKind = BlockKind.SCORES,
    buckets: Sequence[int] | None = None,
) -> dict[int, int]:
    """Return the number of clients of each bucket with a block of a kind, by bucket."""
    query = select_blocks([scoring_id], [kind], "n_clients")
    if buckets is not None:
        query = query.where(client_blocks.c.bucket.in_(buckets))
    return {row.bucket: row.n_clients for row in connection.execute(query)}


def remove_blocks(engine: Engine, scoring_id: int, kinds: Iterable[BlockKind]) -> int:
    """Delete the blocks of a scoring in short transactions, and return the clients in SCORES."""
    n_removed = 0
    with database.reading(engine) as connection:
        found = connection.execute(select_blocks([scoring_id], kinds, "n_clients")).all()
    for start in range(0, len(found), REMOVED_BLOCKS):
        part = found[start : start + REMOVED_BLOCKS]
        n_removed += sum(row.n_clients for row in part if row.kind == BlockKind.SCORES)
        keys = [(row.kind, row.bucket) for row in part]
        table = client_blocks.c
        with database.writing(engine, is_one_of_many=True) as connection:
            connection.execute(
                client_blocks.delete()
                .where(table.scoring_id == scoring_id)
                .where(sa.tuple_(table.kind, table.bucket).in_(keys))
            )
        progress.advance()
    return n_removed
