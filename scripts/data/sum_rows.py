"""Recognises rows of sums under a table, which are no clients."""

import pandas as pd

SUM_NAMES = frozenset(
    ("total", "totals", "grand total", "subtotal", "sum", "summe", "gesamt", "gesamtsumme", "somme",
     "totale", "totaal", "suma", "razem")
)  # fmt: skip


def find_names(keys: "pd.Series[str]") -> list[str]:
    """List the keys named as a sum, each once."""
    plain = keys.astype("str").str.strip().str.casefold()
    return [str(key) for key in keys[plain.isin(SUM_NAMES)].unique()]


def describe(keys: "pd.Series[str]") -> str:
    """Return a sentence about keys named as a sum, "" without any."""
    names = find_names(keys)
    if not names:
        return ""
    return (
        f"The client {names[0]!r} is likely the sum of a table, and no client. Take its rows out of"
        " the files, or it is trained on and listed."
    )
