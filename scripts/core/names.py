"""Finds names with more than one occurrence."""

from collections import Counter
from collections.abc import Iterable


def find_duplicates(names: Iterable[str]) -> list[str]:
    """Return the names with more than one occurrence, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)
