"""Puts the outcomes of clients into groups with what they have in common."""

import json
from itertools import groupby
from operator import itemgetter

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

COMMON = (
    "run_id", "scoring_id", "as_of", "known_at", "exited", "scored_at", "release", "band",
    "first_high_at", "warned_s", "recorded_by", "previously",
)  # fmt: skip
# Outcomes of so many neighbouring ids share groups, so that no group is large.
GROUP_SIZE = 10_000


def make_groups() -> None:
    """Make the table of groups."""
    op.create_table(
        "outcome_groups",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("scoring_id", sa.Integer),
        sa.Column("as_of", sa.String(10)),
        sa.Column("known_at", sa.DateTime, nullable=False),
        sa.Column("exited", sa.Boolean, nullable=False),
        sa.Column("scored_at", sa.DateTime, nullable=False),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("band", sa.String(8), nullable=False),
        sa.Column("first_high_at", sa.DateTime),
        sa.Column("warned_s", sa.Float),
        sa.Column("recorded_by", sa.Integer),
        sa.Column("previously", sa.Boolean),
        sa.Column("counts", sa.LargeBinary),
    )
    for name in ("run_id", "as_of", "recorded_by"):
        op.create_index(f"ix_outcome_groups_{name}", "outcome_groups", [name])


def move_outcomes() -> None:
    """Move the outcomes into groups. The first outcome of a group gives the group its id."""
    # Names of tables and columns stand above.
    common = ", ".join(COMMON)
    op.create_table(
        "grouped_outcomes",
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("group_id", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
    )
    op.execute(
        "INSERT INTO grouped_outcomes (probability, group_id, position, client)"  # noqa: S608
        f" SELECT probability, MIN(id) OVER (PARTITION BY id / {GROUP_SIZE}, {common}),"
        " position, client FROM client_outcomes"
    )
    op.execute(
        f"INSERT INTO outcome_groups (id, {common}) SELECT id, {common}"  # noqa: S608
        " FROM client_outcomes WHERE id IN (SELECT group_id FROM grouped_outcomes)"
    )


def count_tenths(connection: sa.Connection) -> None:
    """Record the counts of each group by tenth of the probability."""
    is_sqlite = connection.dialect.name == "sqlite"
    tenth = f"CAST({'probability * 10' if is_sqlite else 'FLOOR(probability * 10)'} AS INTEGER)"
    counts = connection.execute(
        sa.text(
            f"SELECT group_id, CASE WHEN {tenth} > 9 THEN 9 ELSE {tenth} END AS tenth, COUNT(*),"  # noqa: S608
            " SUM(probability), SUM(probability * (1 - probability)) FROM client_outcomes"
            " GROUP BY group_id, tenth ORDER BY group_id, tenth"
        )
    )
    for group_id, tenths in groupby(counts, itemgetter(0)):
        content = json.dumps([list(row[1:]) for row in tenths]).encode()
        connection.execute(
            sa.text("UPDATE outcome_groups SET counts = :content WHERE id = :id"),
            {"content": content, "id": group_id},
        )


def keep_counts(connection: sa.Connection) -> None:
    """Let the recorded counts over all outcomes stay true, as their state names the newest id."""
    newest, newest_group = (
        connection.execute(sa.text(f"SELECT MAX(id) FROM {table}")).scalar()  # noqa: S608
        for table in ("client_outcomes", "outcome_groups")
    )
    if newest is None:
        return
    before = f"[{newest}, "
    connection.execute(
        sa.text(
            "UPDATE outcome_counts SET state = :now || SUBSTR(state, :start)"
            " WHERE SUBSTR(state, 1, :n) = :before"
        ),
        {"now": f"[{newest_group}, ", "start": len(before) + 1, "n": len(before), "before": before},
    )


def upgrade() -> None:
    """Make the groups, and replace the table of outcomes."""
    make_groups()
    move_outcomes()
    keep_counts(op.get_bind())
    op.drop_table("client_outcomes")
    op.rename_table("grouped_outcomes", "client_outcomes")
    for name in ("client", "group_id"):
        op.create_index(f"ix_client_outcomes_{name}", "client_outcomes", [name])
    op.execute(
        "CREATE INDEX ix_client_outcomes_first ON client_outcomes (position)"
        " WHERE position <= 10000"
    )
    count_tenths(op.get_bind())
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "SELECT SETVAL(PG_GET_SERIAL_SEQUENCE('outcome_groups', 'id'),"
            " (SELECT COALESCE(MAX(id), 0) + 1 FROM outcome_groups), FALSE)"
        )
