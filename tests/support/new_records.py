"""Makes the tables of new records quickly: with the statements of the first migration of a process.

Alembic takes a tenth of a second of CPU time for new records, and a thousand tests make some.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records import migrations

MIGRATE = migrations.upgrade
# Statements that change nothing, and that Alembic decides by.
QUESTIONS = ("SELECT", "PRAGMA")
# The statements that make the tables, by the kind of database.
STATEMENTS: dict[str, list[str]] = {}


def record_statements(connection: Connection) -> list[str]:
    """Migrate empty records, and return the statements."""
    recorded: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if not statement.lstrip().upper().startswith(QUESTIONS):
            assert not parameters
            recorded.append(statement)

    sa.event.listen(connection, "before_cursor_execute", note)
    MIGRATE(connection, made_before_versions=False)
    sa.event.remove(connection, "before_cursor_execute", note)
    return recorded


def upgrade(connection: Connection, *, made_before_versions: bool) -> None:
    """Migrate the tables, or repeat the recorded statements for records without any table."""
    kind = connection.dialect.name
    if sa.inspect(connection).get_table_names():
        MIGRATE(connection, made_before_versions=made_before_versions)
    elif kind not in STATEMENTS:
        STATEMENTS[kind] = record_statements(connection)
    else:
        cursor = connection.connection.cursor()
        for statement in STATEMENTS[kind]:
            cursor.execute(statement)
        cursor.close()
