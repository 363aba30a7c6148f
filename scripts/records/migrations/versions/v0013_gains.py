"""Adds the facts behind the expected gains of a scoring."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("scorings", sa.Column("gain_facts", sa.JSON))
