"""Adds how often test rows have judged, and the comparison by log loss."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, without values for earlier runs."""
    for name in ("models", "decisions"):
        op.add_column(name, sa.Column("n_judged", sa.Integer))
    for name in ("loss_difference", "loss_standard_error"):
        op.add_column("decisions", sa.Column(name, sa.Float))
