"""Damage of records as by disks and other programs."""

import sqlite3
from contextlib import closing
from pathlib import Path

DAMAGES = {
    "text that is no UTF-8": "UPDATE runs SET reason = CAST(X'ff' AS TEXT)",
    "a date that is none": "UPDATE runs SET ended_at = 'yesterday'",
    "a date that is a number": "UPDATE runs SET ended_at = 7",
    "JSON that is none": "UPDATE runs SET durations_s = '{'",
    "a table that is gone": "DROP TABLE deployments",
    "names that are no UTF-8": "UPDATE sqlite_master SET name = CAST(X'ff' AS TEXT)",
}


def damage(path: Path, statement: str) -> None:
    """Change records directly, without the programs."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(statement)
