"""Tables of the first installations: runs, files and digests."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("started_at", sa.DateTime, nullable=False),
        sa.Column("ended_at", sa.DateTime),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("verdict", sa.String(32)),
        sa.Column("reason", sa.Text),
        sa.Column("fingerprint", sa.String(64)),
        sa.Column("stamp", sa.String(32)),
        sa.Column("candidate_f1", sa.Float),
        sa.Column("production_f1", sa.Float),
        sa.Column("release", sa.String(64)),
        sa.Column("durations_s", sa.JSON),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), nullable=False, index=True),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("n_bytes", sa.BigInteger, nullable=False),
        sa.Column("n_rows", sa.BigInteger, nullable=False),
        sa.Column("n_rejected", sa.BigInteger, nullable=False),
        sa.Column("refused", sa.Text, nullable=False),
    )
    op.create_table(
        "digests",
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("n_bytes", sa.BigInteger, nullable=False),
        sa.Column("changed_ns", sa.BigInteger, nullable=False),
        sa.Column("inode", sa.String(24), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
