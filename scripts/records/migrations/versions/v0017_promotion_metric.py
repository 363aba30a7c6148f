"""Adds the metric of a promotion and its values to the decisions."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("decisions", sa.Column("metric", sa.String(32)))
    op.add_column("decisions", sa.Column("candidate_value", sa.Float))
    op.add_column("decisions", sa.Column("production_value", sa.Float))
