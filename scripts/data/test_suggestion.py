"""Suggestion of the test data: a folder beside the input, as of a table that comes in two parts."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.core import files
from scripts.core.config import normalise_label
from scripts.core.errors import PipelineError
from scripts.data import outcome_suggestion

TEST_NAME = re.compile(
    r"(test|hold.?out|valid|validation|eval|evaluation)"
    r"[-_ ]?(data|daten|set|table|rows|clients)?s?[-_ ]?\d*",
    re.IGNORECASE,
)
# Of many such folders the others are not looked at: each may have large tables.
MAX_FOLDERS = 5


def has_labels(folder: Path, target: str, positive: str) -> bool:
    """Return whether the tables of a folder have rows of leavers, and of other clients."""
    labels: set[str] = set()
    for file in outcome_suggestion.read_tables(files.list_tables(folder)):
        if target in file.table.columns:
            labels |= {normalise_label(text) for text in file.table[target].unique()}
    return normalise_label(positive) in labels and len(labels - {""}) > 1


def find_folder(folder: Path, section: Mapping[str, Any]) -> Path | None:
    """Find a folder of test data beside a folder, None without one.

    Parameters
    ----------
    folder : Path
        The input.
    section : mapping of str to object
        The section `schema`, with `target` and `positive`.

    Returns
    -------
    Path or None
        The first folder by name that is named as test data, and has both labels.
    """
    if "target" not in section:
        return None
    beside = outcome_suggestion.list_folders(folder.resolve().parent, folder)
    named = sorted(place for place in beside if TEST_NAME.fullmatch(place.name))
    for place in named[:MAX_FOLDERS]:
        try:
            if has_labels(place, section["target"], str(section["positive"])):
                return place
        except (PipelineError, OSError):
            # A folder that cannot be read is no proposal.
            continue
    return None
