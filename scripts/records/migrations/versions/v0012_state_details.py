"""Adds the newest finding behind a watched state, in words."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, with the words of the last alert of each state."""
    op.add_column("states", sa.Column("detail", sa.Text))
    op.execute(
        "UPDATE states SET detail = (SELECT detail FROM alerts WHERE id ="
        " (SELECT max(id) FROM alerts WHERE alerts.name = states.name))"
    )
