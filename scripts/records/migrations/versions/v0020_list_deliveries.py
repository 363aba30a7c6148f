"""Adds the weekly mails, and the events of the list with the list that their receiver knows."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "list_mails",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="SET NULL"), index=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("week", sa.String(10), nullable=False, unique=True),
        sa.Column("message_id", sa.String(160), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("n_attempts", sa.Integer, nullable=False),
        sa.Column("n_clients", sa.Integer, nullable=False),
        sa.Column("members", sa.JSON),
        sa.Column("sent_at", sa.DateTime),
        sa.Column("fault", sa.Text),
    )
    op.create_table(
        "list_events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="SET NULL"), index=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False, unique=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("client", sa.Text, nullable=False, index=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("n_attempts", sa.Integer, nullable=False),
        sa.Column("n_refused", sa.Integer, nullable=False),
        sa.Column("sent_at", sa.DateTime, index=True),
        sa.Column("given_up_at", sa.DateTime),
        sa.Column("fault", sa.Text),
    )
    op.create_table(
        "list_snapshots",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("scoring_id", sa.Integer, nullable=False),
        sa.Column("last_entry", sa.Integer, nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("members", sa.JSON, nullable=False),
    )
