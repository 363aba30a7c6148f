"""Recognises keys that are no clients: sums under a table, and words for a missing key."""

import pandas as pd

SUM_NAMES = frozenset(
    ("total", "totals", "grand total", "subtotal", "sum", "summe", "gesamt", "gesamtsumme", "somme",
     "totale", "totaal", "suma", "razem")
)  # fmt: skip
# Words in place of a missing value.
STAND_INS = frozenset(
    ("?", "-", "--", ".", "na", "n/a", "n.a.", "#n/a", "nan", "nil", "null", "(null)", "none",
     "missing", "unknown", "undefined", "unbekannt", "k.a.", "inconnu", "sconosciuto",
     "desconocido", "onbekend")
)  # fmt: skip


def find_names(keys: "pd.Series[str]", names: frozenset[str]) -> list[str]:
    """List the keys that are one of some names, each once."""
    distinct = pd.Series(keys.unique()).astype("str")
    return distinct[distinct.str.strip().str.casefold().isin(names)].tolist()


def without_stand_ins(keys: "pd.Series[str]") -> "pd.Series[str]":
    """Return keys with blanks in place of words for a missing key."""
    return keys.where(~keys.isin(find_names(keys, STAND_INS)), "")


def describe(keys: "pd.Series[str]") -> list[str]:
    """Return sentences about keys that are no clients."""
    sums, missing = find_names(keys, SUM_NAMES), find_names(keys, STAND_INS)
    notices = []
    if sums:
        notices.append(
            f"The client {sums[0]!r} is likely the sum of a table, and no client. Take its rows out"
            " of the files, or it is trained on and listed."
        )
    if missing:
        notices.append(
            f"The key {missing[0]!r} likely stands for a missing key: all of its rows are taken for"
            " one client. Leave the cells blank, and the rows are rejected, or fill in the keys."
        )
    return notices
