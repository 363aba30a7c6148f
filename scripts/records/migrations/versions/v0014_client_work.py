"""Adds the work with clients."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "client_work",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False, index=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("result", sa.String(16)),
        sa.Column("note", sa.Text),
        sa.Column("contacted_on", sa.String(10)),
        sa.Column("contacted_by", sa.Text),
        sa.Column("assigned_to", sa.Text),
        sa.Column("snoozed_until", sa.String(10)),
        sa.Column("probability", sa.Float),
    )
    op.create_index("ix_client_work_snoozed", "client_work", ["kind", "snoozed_until"])
