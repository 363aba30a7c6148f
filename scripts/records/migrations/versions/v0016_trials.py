"""Adds the clients of the trials, and the periods of held-out clients."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and make the table."""
    op.add_column("scorings", sa.Column("holdout_facts", sa.JSON))
    op.create_table(
        "trial_clients",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), nullable=False, index=True),
        sa.Column("scoring_id", sa.Integer, nullable=False),
        sa.Column("period", sa.String(10), nullable=False),
        sa.Column("until", sa.String(10), nullable=False),
        sa.Column("client", sa.Text, nullable=False, index=True),
        sa.Column("is_held_out", sa.Boolean, nullable=False),
        sa.Column("enrolled_at", sa.DateTime, nullable=False),
        sa.Column("enrolled_on", sa.String(10), nullable=False),
        sa.Column("ends_at", sa.DateTime, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("band", sa.String(8), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.UniqueConstraint("period", "client", name="one_row_per_period_and_client"),
    )
