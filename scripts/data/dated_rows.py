"""Tables of dated rows: one row per client and day, derived columns, today's clients."""

import numpy as np
import pandas as pd

from scripts.core.config import Schema
from scripts.data import client_dates

# The columns of the outcomes of all rows: client, ISO date of the row, and label.
CLIENT, DAY, LABEL = "client", "day", "label"


def sort_rows(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return rows by client and day, without the earlier ones of equal client and day.

    Of several rows of a client as of one day a row with a label counts before one without, and
    then the last one.
    """
    keys = [schema.client_key, schema.as_of]
    is_labelled = table[schema.target] >= 0
    ordered = table.assign(_labelled=is_labelled).sort_values([*keys, "_labelled"], kind="stable")
    return ordered.drop(columns="_labelled").drop_duplicates(keys, keep="last", ignore_index=True)


def add_derived(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return rows with the derived columns.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Rows by client and day, as from `sort_rows`.
    schema : Schema
        The schema by which the rows were read.

    Returns
    -------
    pandas.DataFrame of shape (n_rows, n_columns)
        The same rows and columns, and the derived columns.
    """
    changes = list(schema.changes or ())
    names = {*schema.numeric, *schema.date_formats, schema.as_of}
    columns = {name: table[name].to_numpy(np.float64) for name in names}
    is_first = (table[schema.client_key] != table[schema.client_key].shift()).to_numpy()
    before = {
        name: np.where(is_first, np.nan, table[name].astype(np.float64).shift().to_numpy())
        for name in changes
    }
    return table.assign(**client_dates.derive(columns, before, schema))


def select_todays(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return the row of today of each client: the latest one, of the newest extract or after.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Rows by client and day.
    schema : Schema
        With key and date.

    Returns
    -------
    pandas.DataFrame of shape (n_clients, n_columns)
        A client whose last row is of an earlier extract is none of today's.
    """
    last = table.drop_duplicates(schema.client_key, keep="last")
    days = table[schema.as_of].to_numpy(np.int64)
    whole = client_dates.find_whole_days(days)
    return last[last[schema.as_of] >= whole[-1]] if len(whole) else last
