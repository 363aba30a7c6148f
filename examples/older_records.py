"""Makes the records of an installation older, so that nobody waits for a month to pass."""

from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.core.config_file import read_config
from scripts.records import column_blocks, database, scored_clients
from scripts.records.tables import BlockKind, UtcDateTime, client_blocks, metadata

# The periods of the trial are as long, so that older records fit into the calendar of the trial.
MONTH = timedelta(days=30)
# Days of the records that are no moments.
DAYS = {
    "client_work": ("contacted_on", "snoozed_until"),
    "trial_clients": ("period", "until", "enrolled_on"),
}
# Moments in the packed columns of scored clients.
PACKED = {"previous_at", "first_high_at"}


def shift(moment: datetime | str, age: timedelta) -> datetime | str:
    """Return a moment or a day in ISO 8601, earlier by an age."""
    if isinstance(moment, str):
        return str(datetime.fromisoformat(moment).date() - age)
    return moment - age


def shift_packed(content: bytes, age: timedelta) -> bytes:
    """Return a block of scored clients with moments earlier by an age."""
    columns = column_blocks.unpack(content)
    for name in PACKED & {*columns}:
        known = columns[name] != scored_clients.NO_MOMENT
        columns[name] = columns[name] - known * (age // timedelta(microseconds=1))
    return column_blocks.pack(columns)


def make_blocks_older(connection: Connection, age: timedelta) -> None:
    """Move the moments in the blocks of scored clients, for example the first high risk."""
    of_scores = client_blocks.c.kind.in_([BlockKind.SCORES, BlockKind.ABSENT])
    for block in connection.execute(sa.select(client_blocks).where(of_scores)).mappings().all():
        keys = [column == block[column.name] for column in client_blocks.primary_key.columns]
        earlier = shift_packed(block["content"], age)
        connection.execute(sa.update(client_blocks).where(*keys).values(content=earlier))


def make_older(path: Path, age: timedelta) -> None:
    """Move every moment and day of the records into the past."""
    url = read_config(path).database_url
    with database.open_records(url) as engine, database.writing(engine) as connection:
        for table in metadata.tables.values():
            moments = [c.name for c in table.columns if isinstance(c.type, UtcDateTime)]
            names = (*moments, *DAYS.get(table.name, ()))
            for row in connection.execute(sa.select(table)).mappings().all() if names else ():
                earlier = {n: shift(row[n], age) for n in names if row[n] is not None}
                keys = [c == row[c.name] for c in table.primary_key.columns]
                connection.execute(sa.update(table).where(*keys).values(earlier))
        make_blocks_older(connection, age)
