"""Adds the metrics of candidates by groups of clients."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

METRICS = ("f1", "precision", "recall", "listed", "gap")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "group_metrics",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), nullable=False, index=True),
        sa.Column("column", sa.Text, nullable=False),
        sa.Column("group", sa.Text, nullable=False),
        sa.Column("n_rows", sa.BigInteger, nullable=False),
        sa.Column("n_positives", sa.BigInteger, nullable=False),
        *(sa.Column(name + end, sa.Float) for name in METRICS for end in ("", "_low", "_high")),
    )
