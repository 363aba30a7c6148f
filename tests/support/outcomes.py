"""Outcomes of clients in the records, one by one: written in groups of their own, read as rows."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records import outcome_records
from scripts.records.runs import Row, all_rows
from scripts.records.tables import client_outcomes, outcome_groups


def insert_outcomes(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """Insert outcomes, each in a group without counts, and return the ids of the groups."""
    ids = []
    for row in rows:
        common = {name: value for name, value in row.items() if name not in client_outcomes.c}
        key = connection.execute(outcome_groups.insert().values(common)).inserted_primary_key
        assert key is not None
        own = {name: value for name, value in row.items() if name in client_outcomes.c}
        connection.execute(client_outcomes.insert().values(own | {"group_id": key[0]}))
        ids.append(key[0])
    return ids


def read_outcomes(connection: Connection) -> list[Row]:
    """Return all outcomes, also those that do not count yet."""
    query = sa.select(*outcome_records.FACTS).select_from(outcome_records.GROUPED)
    return all_rows(connection, query.order_by(outcome_records.group.id))
