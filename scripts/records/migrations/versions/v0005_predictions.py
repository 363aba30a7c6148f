"""Adds logged predictions, and column statistics of live rows."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ONE_ROW = "one_row_per_run_and_column"


def upgrade() -> None:
    """Make the table, then let a run have statistics of both kinds of rows."""
    op.create_table(
        "predictions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("client", sa.String(16)),
        sa.Column("values", sa.Text, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("predicted", sa.Boolean, nullable=False),
    )
    op.create_index("ix_predictions_release", "predictions", ["release", "id"])
    with op.batch_alter_table("column_statistics") as table:
        table.add_column(sa.Column("role", sa.String(8), nullable=False, server_default="dataset"))
        table.drop_constraint(ONE_ROW, type_="unique")
        table.create_unique_constraint(ONE_ROW, ["run_id", "role", "column"])
