"""Adds triggers, errors and versions of runs, and tables of models, decisions and deployments."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def of_run(*, nullable: bool = False) -> sa.Column[int]:
    """Return the column with the run of a row."""
    return sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), nullable=nullable, index=True)


def add_to_the_old_tables() -> None:
    """Add columns to runs and files, and allow missing counts of unread files."""
    op.add_column("runs", sa.Column("trigger", sa.String(16)))
    op.add_column("runs", sa.Column("error", sa.Text))
    op.add_column("runs", sa.Column("versions", sa.JSON))
    with op.batch_alter_table("files") as batch:
        batch.add_column(sa.Column("role", sa.String(8)))
        batch.alter_column("n_rows", existing_type=sa.BigInteger, nullable=True)
        batch.alter_column("n_rejected", existing_type=sa.BigInteger, nullable=True)
        batch.alter_column("refused", existing_type=sa.Text, nullable=True)


def make_models_and_decisions() -> None:
    """Create the tables of models and promotion decisions."""
    op.create_table(
        "models",
        sa.Column("id", sa.Integer, primary_key=True),
        of_run(),
        sa.Column("stamp", sa.String(32), nullable=False, index=True),
        sa.Column("dataset_sha256", sa.String(64)),
        sa.Column("n_rows", sa.BigInteger),
        sa.Column("n_positives", sa.BigInteger),
        sa.Column("settings", sa.JSON),
        *(
            sa.Column(name, sa.Float)
            for name in ("threshold", "f1", "f1_low", "f1_high", "precision", "recall", "roc_auc")
        ),
        sa.Column("n_test_rows", sa.BigInteger),
        sa.Column("n_test_positives", sa.BigInteger),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer, primary_key=True),
        of_run(),
        sa.Column("decided_at", sa.DateTime, nullable=False),
        sa.Column("answer", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("candidate_stamp", sa.String(32)),
        sa.Column("production_release", sa.String(64)),
        *(
            sa.Column(name, sa.Float)
            for name in (
                "candidate_f1", "production_f1", "difference", "difference_low",
                "difference_high", "probability_better",
            )
        ),
        sa.Column("n_test_rows", sa.BigInteger),
        sa.Column("n_test_positives", sa.BigInteger),
    )  # fmt: skip


def make_deployments_and_drift() -> None:
    """Create the tables of deployments, drift and alert states."""
    op.create_table(
        "deployments",
        sa.Column("id", sa.Integer, primary_key=True),
        of_run(nullable=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("previous_release", sa.String(64)),
        sa.Column("model_stamp", sa.String(32)),
        sa.Column("f1", sa.Float),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
    )
    op.create_table(
        "column_statistics",
        sa.Column("id", sa.Integer, primary_key=True),
        of_run(),
        sa.Column("dataset_stamp", sa.String(32), nullable=False),
        sa.Column("column", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("n_rows", sa.BigInteger, nullable=False),
        *(
            sa.Column(name, sa.Float)
            for name in (
                "missing_fraction", "mean", "median", "standard_deviation", "drift",
                "drift_limit", "effect",
            )
        ),
        sa.UniqueConstraint("run_id", "column", name="one_row_per_run_and_column"),
    )  # fmt: skip
    op.create_table(
        "production_scores",
        sa.Column("id", sa.Integer, primary_key=True),
        of_run(),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("f1", sa.Float),
        sa.Column("f1_low", sa.Float),
        sa.Column("f1_high", sa.Float),
        sa.Column("n_rows", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "states",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("since", sa.DateTime, nullable=False),
        of_run(nullable=True),
    )


def upgrade() -> None:
    """Add the columns, then make the tables."""
    add_to_the_old_tables()
    make_models_and_decisions()
    make_deployments_and_drift()
