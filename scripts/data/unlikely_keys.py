"""Recognises keys that are no clients: sums under a table, and words for a missing key."""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

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
    texts = pa.array(keys.astype("str"), pa.large_string())
    plain = pc.utf8_lower(pc.utf8_trim_whitespace(texts))
    is_named = pc.is_in(plain, value_set=pa.array(sorted(names), pa.large_string()))
    found: list[str] = pc.unique(texts.filter(is_named)).to_pylist()
    return found


def without_stand_ins(keys: "pd.Series[str]") -> "pd.Series[str]":
    """Return keys with blanks in place of words for a missing key."""
    return keys.where(~keys.isin(find_names(keys, STAND_INS)), "")


def describe(keys: "pd.Series[str]") -> list[str]:
    """Return sentences about keys that are no clients."""
    # There may be a million of them, of which hardly any is found.
    found = pd.Series(find_names(keys, SUM_NAMES | STAND_INS), dtype="str")
    sums, missing = find_names(found, SUM_NAMES), find_names(found, STAND_INS)
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
