"""Checks the settings of the worklist in config.json: worth, columns shown, held-out clients."""

from scripts.core.config import Config, Schema
from scripts.core.errors import ConfigError

EXAMPLE = '"costs": {"contact": 5, "offer": 40}'


def check_column(config: Config, column: str, place: str) -> None:
    """Refuse a column of values without numbers, unless the schema ignores the column."""
    schema = config.schema
    is_inferred = "numeric" in schema.inferred
    others = {*schema.ids, *schema.categorical, *schema.date_cells, *schema.status_columns}
    others.add(schema.target)
    known = {*schema.numeric, *schema.ignore, *(schema.ratios or ())}
    if not column or column in others or not (is_inferred or column in known):
        raise ConfigError(
            f"{place}, worklist.value, names {column!r}; expected a numeric column of the schema,"
            f" one that it ignores, or the worth of every client as a number."
        )


def check_shown(config: Config, place: str) -> None:
    """Refuse a shown column already on the list, or named twice."""
    schema = config.schema
    # The list has the key as the client, and an unlabelled row has no label.
    others = {*schema.client_ids, schema.target, *([schema.as_of] if schema.date else [])}
    wrong = [name for name in config.worklist.columns if not name or name in others]
    if wrong or len(set(config.worklist.columns)) < len(config.worklist.columns):
        raise ConfigError(
            f"{place}, worklist.columns, names {wrong or list(config.worklist.columns)}; expected"
            " columns of the files, each once, but for the client, the day of the row and the"
            " target."
        )


def check_names(schema: Schema, place: str) -> None:
    """Refuse the client, a feature, a date or the target as a name for people."""
    others = {*schema.client_ids, *schema.features, *schema.date_cells, schema.target}
    wrong = [name for name in schema.names_for_people if not name or name in others]
    if wrong:
        raise ConfigError(
            f"{place}, schema.names, names {wrong}; expected columns that name a client for people,"
            " such as the company, which are no features and not the key."
        )


def check_holdout(config: Config, place: str) -> None:
    """Refuse held-out clients without identifiers."""
    schema = config.schema
    if config.worklist.holdout_fraction > 0 and not (schema.ids or schema.client_key):
        raise ConfigError(
            f"{place}: worklist.holdout_fraction needs schema.ids: only clients with an identifier"
            " can be left out for a whole period."
        )


def check_value(config: Config, place: str) -> None:
    """Refuse a value without costs, costs without a value, and a value without numbers."""
    value, costs = config.worklist.value, config.worklist.costs
    if value is not None and costs is None:
        raise ConfigError(
            f"{place}: worklist.value needs worklist.costs, such as {EXAMPLE}: the gain of a call"
            " is the worth of the clients that it keeps, less the costs."
        )
    if costs is not None and value is None:
        raise ConfigError(
            f"{place}: worklist.costs needs worklist.value: the column that says how much a client"
            " is worth, or a number."
        )
    if isinstance(value, str):
        check_column(config, value, place)
