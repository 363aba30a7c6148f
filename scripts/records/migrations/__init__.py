"""Migrates the tables of existing records to the present version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Connection

FIRST = "0001"


def make_alembic_config() -> Config:
    """Return the settings of Alembic, with the folder of the migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def upgrade(connection: Connection, *, made_before_versions: bool) -> None:
    """Run the missing migrations in the transaction of the caller.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        An exclusive transaction.
    made_before_versions : bool
        Whether the tables have no version yet, and correspond to the first migration.
    """
    config = make_alembic_config()
    config.attributes["connection"] = connection
    if made_before_versions:
        command.stamp(config, FIRST)
    command.upgrade(config, "head")
