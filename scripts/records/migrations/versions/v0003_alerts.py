"""Adds details of the drift comparison, and the table of alerts."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, then make the table."""
    op.add_column("column_statistics", sa.Column("n_compared", sa.BigInteger))
    for name in ("missing_drift", "missing_drift_limit", "shift", "risk_shift"):
        op.add_column("column_statistics", sa.Column(name, sa.Float))
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="SET NULL"), index=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("previous_state", sa.String(64)),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("sent_at", sa.DateTime),
    )
