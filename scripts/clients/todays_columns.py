"""The columns of today's clients beside the features: names, columns shown, and the worth."""

import logging

import pandas as pd

from scripts.core.config import Config, Schema
from scripts.core.errors import PipelineError
from scripts.data import kept_columns
from scripts.model.logistic_model import Model
from scripts.production import client_values
from scripts.production.run_context import RunContext
from scripts.records import scored_clients
from scripts.records.column_blocks import Column

log = logging.getLogger(__name__)


def find_worth(config: Config, schema: Schema) -> tuple[str, ...]:
    """Return the column of the worth if the model may lack the column, otherwise ()."""
    value = config.worklist.value
    return (value,) if isinstance(value, str) and value not in schema.numeric else ()


def read_texts(
    context: RunContext, table: pd.DataFrame, schema: Schema, wanted: tuple[str, ...]
) -> pd.DataFrame:
    """Return columns of today's clients as texts out of the input files, read once a run."""
    known = context.todays_texts
    if known is None or known[0] is not table or not {*wanted} <= {*known[1]}:
        read = context.engine.kept_columns(context.input_paths, schema, wanted, table)
        known = context.todays_texts = table, read
    return known[1][list(wanted)]


def convert(texts: pd.DataFrame, config: Config, schema: Schema) -> dict[str, Column]:
    """Return the columns marked with their kind, the worth as numbers."""
    names = config.schema.names_for_people
    converted = kept_columns.convert(texts, names, schema)
    for column in {*find_worth(config, schema)} & {*converted} - {*names}:
        # A single cell that is no number must not make texts of the others.
        converted[column] = client_values.parse_values(texts[column].tolist(), column, schema)
    return scored_clients.mark_kept(converted, names)


def read(
    context: RunContext, table: pd.DataFrame, schema: Schema, model: Model
) -> dict[str, Column]:
    """Read the columns of today's clients that are kept for people, or log the failure.

    A list without names is better than none.

    Parameters
    ----------
    context : RunContext
        With the input files of the run.
    table : pandas.DataFrame of shape (n_clients, n_columns)
        Today's clients.
    schema : Schema
        The columns of the dataset.
    model : Model
        The model that scores, whose features are kept anyway.

    Returns
    -------
    dict of str to numpy.ndarray of shape (n_clients,)
        By name, marked with the kind.
    """
    config = context.config
    shown = [*config.worklist.columns, *find_worth(config, schema)]
    wanted = kept_columns.choose_columns(
        config.schema.names_for_people, shown, schema, model.schema.features
    )
    if not wanted or table.empty:
        return {}
    try:
        texts = read_texts(context, table, schema, wanted)
    except (PipelineError, OSError) as error:
        log.warning("The list is without %s: %s", list(wanted), error)
        return {}
    return convert(texts, config, schema)


def warn_of_empty(kept: dict[str, Column]) -> None:
    """Log a warning if a column has no text for any of today's clients."""
    empty = [
        name.partition(":")[2] for name, column in kept.items()
        if column.dtype == object and not column.any()
    ]  # fmt: skip
    if empty:
        log.warning(
            "schema.names and worklist.columns name %s, which no row of today's clients has: they"
            " are empty on the list. Compare them with the first lines of the files.", empty,
        )  # fmt: skip
