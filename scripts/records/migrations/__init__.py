"""Brings the tables of existing records to what the programs expect."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Connection

FIRST = "0001"


def make_alembic_config() -> Config:
    """Say where the migrations are, without a file of settings."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def upgrade(connection: Connection, *, made_before_versions: bool) -> None:
    """Run the migrations that are missing, in the caller's transaction.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Nobody else may write meanwhile.
    made_before_versions : bool
        Whether the tables were made before they were given versions, as the first migration
        makes them.
    """
    config = make_alembic_config()
    config.attributes["connection"] = connection
    if made_before_versions:
        command.stamp(config, FIRST)
    command.upgrade(config, "head")
