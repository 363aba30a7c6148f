"""Adds tables of client scores over time, their models, and outcomes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def of_run() -> sa.Column[int]:
    """Return the column with the run of a row."""
    return sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), nullable=False, index=True)


def make_scorings() -> None:
    """Make the tables of the scorings and of their models."""
    op.create_table(
        "scorings",
        sa.Column("id", sa.Integer, primary_key=True),
        of_run(),
        sa.Column("scored_at", sa.DateTime, nullable=False),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("model_stamp", sa.String(32), nullable=False),
        sa.Column("columns", sa.Text, nullable=False),
        sa.Column("n_clients", sa.Integer, nullable=False),
        sa.Column("n_without_data", sa.Integer, nullable=False),
        sa.Column("n_test_rows", sa.Integer, nullable=False),
        sa.Column("gains", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "scoring_models",
        sa.Column("stamp", sa.String(32), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )


def make_clients() -> None:
    """Make the tables of the clients' scores and outcomes."""
    op.create_table(
        "client_scores",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("scoring_id", sa.Integer, sa.ForeignKey("scorings.id"), nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("band", sa.String(8), nullable=False),
        sa.Column("values", sa.Text, nullable=False),
        sa.Column("contributions", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("previous_id", sa.Integer),
        sa.Column("first_high_at", sa.DateTime),
    )
    op.create_index("ix_client_scores_place", "client_scores", ["scoring_id", "position"])
    op.create_index("ix_client_scores_client", "client_scores", ["client", "id"])
    op.create_table(
        "client_outcomes",
        sa.Column("id", sa.Integer, primary_key=True),
        of_run(),
        sa.Column("score_id", sa.Integer, nullable=False, unique=True),
        sa.Column("client", sa.Text, nullable=False, index=True),
        sa.Column("known_at", sa.DateTime, nullable=False),
        sa.Column("exited", sa.Boolean, nullable=False),
        sa.Column("scored_at", sa.DateTime, nullable=False),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("band", sa.String(8), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("first_high_at", sa.DateTime),
    )


def upgrade() -> None:
    """Make the tables."""
    make_scorings()
    make_clients()
