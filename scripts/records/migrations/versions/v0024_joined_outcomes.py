"""Adds the state of the last join of dated outcomes, and an index with all counted columns."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

COUNTED = ["as_of", "id", "position", "exited", "probability", "warned_s", "recorded_by"]


def upgrade() -> None:
    """Add the column, so that nothing is joined anew, and replace the index."""
    op.add_column("scorings", sa.Column("joined", sa.LargeBinary))
    op.drop_index("ix_client_outcomes_counted", table_name="client_outcomes")
    op.create_index("ix_client_outcomes_counted", "client_outcomes", COUNTED)
