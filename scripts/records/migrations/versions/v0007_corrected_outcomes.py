"""Adds the outcome before a correction."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, without a value for outcomes that were never corrected."""
    op.add_column("client_outcomes", sa.Column("previously", sa.Boolean))
