"""The words for columns in reasons and pages: names, units, and groups of columns of a kind."""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from scripts.core.config import ColumnLabel, Schema

NO_ENTRY = "no entry"
# From here on a number has no decimals.
LARGE = 1_000


def format_number(value: float) -> str:
    """Format a number for people, with up to four digits below a thousand."""
    is_whole = float(value).is_integer()
    return f"{value:,.0f}" if is_whole or abs(value) >= LARGE else f"{value:.4g}"


class ColumnWords(Struct, frozen=True):
    """Names and units by column, and the group of each grouped column."""

    labels: Mapping[str, ColumnLabel] = field(default_factory=dict)
    group_of: Mapping[str, str] = field(default_factory=dict)

    def name(self, column: str) -> str:
        """Return the name of a column for people, by default the name in the files."""
        label = self.labels.get(column)
        return column if label is None else label.name

    def names(self, columns: Sequence[str]) -> str:
        """Return the names of a column, or of a pair of columns."""
        return " with ".join(map(self.name, columns))

    def value(self, column: str, value: float | str | None) -> str:
        """Format a value of a column with the unit."""
        # NaN is equal to nothing, not even to itself.
        if value is None or value == "" or value != value:
            return NO_ENTRY
        label = self.labels.get(column)
        unit = f" {label.unit}" if label is not None and label.unit else ""
        return f"{value if isinstance(value, str) else format_number(value)}{unit}"


# Columns under their names in the files.
PLAIN = ColumnWords()


def words_of(schema: Schema) -> ColumnWords:
    """Return the words of a schema in config.json."""
    groups = schema.column_groups or {}
    return ColumnWords(
        schema.column_labels or {},
        {column: group for group, columns in groups.items() for column in columns},
    )
