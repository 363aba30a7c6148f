"""Adds the shadow of a candidate to the decisions, and the clients that it moves."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and make the table."""
    op.add_column("decisions", sa.Column("shadow", sa.JSON))
    op.create_table(
        "shadow_clients",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), nullable=False, index=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("client", sa.Text, nullable=False, index=True),
        sa.Column("candidate_probability", sa.Float, nullable=False),
        sa.Column("production_probability", sa.Float, nullable=False),
        sa.Column("candidate_position", sa.Integer, nullable=False),
        sa.Column("production_position", sa.Integer, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
    )
