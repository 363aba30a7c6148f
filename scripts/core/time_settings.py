"""Checks the settings about time in config.json: key, dates, changes, ratios and outcomes."""

from datetime import date

from scripts.core.config import (
    FILE_NAME,
    ISO_FORMAT,
    Config,
    OutcomeSettings,
    Schema,
    normalise_label,
)
from scripts.core.dates import parse_date
from scripts.core.errors import ConfigError
from scripts.core.names import find_duplicates

# A date whose day, month and year differ, to try a format of dates with.
TRIAL_DATE = date(2021, 12, 31)


def check_format(date_format: str, place: str) -> None:
    """Refuse a format of dates without month and year."""
    try:
        text = TRIAL_DATE.strftime(date_format)
        is_whole = parse_date(text, date_format) == TRIAL_DATE
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ConfigError(
            f"{place}: {date_format!r} is no format of dates; expected day, month and year, such as"
            f" {ISO_FORMAT!r} for 2026-03-31, or '%d.%m.%Y' for 31.03.2026, or '%Y-%m' for a month,"
            " whose last day counts."
        )


def check_sources(schema: Schema, place: str, *, is_numeric_known: bool) -> None:
    """Refuse changes and ratios of columns without numbers."""
    ratios = schema.ratios or {}
    sources = {
        "changes": list(schema.changes or ()),
        "ratios": [name for pair in ratios.values() for name in pair],
    }
    for key, names in sources.items():
        others = set(names) - set(schema.numeric) if is_numeric_known else set(schema.categorical)
        strangers = sorted(set(names) & others)
        if strangers:
            raise ConfigError(
                f"{place}, schema.{key}, names {strangers}, which are not numeric columns."
            )
    taken = sorted(set(ratios) & {*schema.columns, *schema.ignore, *schema.date_formats})
    if taken:
        raise ConfigError(
            f"{place}, schema.ratios, gives {taken} a name that a column has; choose another."
        )


def check_leaving(schema: Schema, place: str) -> None:
    """Refuse a column of leaving with both a format and labels, or with blank labels."""
    leaving = schema.leaving_column
    if leaving is None:
        return
    if leaving.labels and leaving.format != ISO_FORMAT:
        raise ConfigError(
            f"{place}, schema.leaving: a status has labels, and a day has a format; give one of the"
            " two."
        )
    if not all(normalise_label(label) for label in leaving.labels):
        raise ConfigError(
            f"{place}, schema.leaving.labels: a blank status cannot mean that a client has left."
        )
    check_format(leaving.format, f"{place}, schema.leaving")


def check_time(schema: Schema, place: str, *, is_numeric_known: bool = True) -> None:
    """Refuse a key, dates, changes and ratios in conflict with further columns."""
    dated = {
        "dates": schema.dates, "changes": schema.changes, "ratios": schema.ratios,
        "leaving": schema.leaving,
    }  # fmt: skip
    for key in (key for key, declared in dated.items() if declared and not schema.date):
        raise ConfigError(
            f"{place}, schema.{key}, needs schema.date: the column that says as of when a row is,"
            f" or {FILE_NAME!r}."
        )
    if schema.date_column is not None:
        if not schema.client_key:
            raise ConfigError(
                f"{place}, schema.date, needs schema.key: the column that identifies a client over"
                " time."
            )
        own = schema.date_column
        named = (
            schema.as_of, *schema.date_formats, *schema.columns, *schema.ignore,
            *schema.leaving_names,
        )  # fmt: skip
        duplicates = find_duplicates(named)
        if duplicates:
            raise ConfigError(f"{place}, schema, names the columns {duplicates} more than once.")
        check_format(own.format, f"{place}, schema.date")
    check_leaving(schema, place)
    for name, date_format in schema.date_formats.items():
        check_format(date_format, f"{place}, schema.dates, {name}")
    check_sources(schema, place, is_numeric_known=is_numeric_known)


def check_source(outcomes: OutcomeSettings, schema: Schema, place: str) -> None:
    """Refuse outcomes without files and without a column in the client tables."""
    has_folder, has_date = outcomes.input_folder_path is not None, bool(outcomes.date)
    if has_folder and not has_date:
        raise ConfigError(
            f"{place}, outcomes, needs date: the column of the files with the day of leaving."
        )
    of_files = {
        "date": has_date, "key": outcomes.key, "label": outcomes.label,
        "format": outcomes.format != ISO_FORMAT,
    }  # fmt: skip
    lost = [key for key, declared in of_files.items() if declared and not has_folder]
    if lost:
        raise ConfigError(
            f"{place}, outcomes, has {lost} of files, and no input_folder_path with the files. If"
            " the client tables have the day of leaving, schema.leaving has the column and its"
            " format."
        )
    if not has_folder and schema.leaving_column is None:
        raise ConfigError(
            f"{place}, outcomes, needs input_folder_path, the folder of the files of outcomes, or"
            " schema.leaving, the column of the client tables with the day of leaving."
        )


def check_outcomes(outcomes: OutcomeSettings, schema: Schema, place: str) -> None:
    """Refuse outcomes without dated rows or a source, and dates in an unknown format."""
    if not schema.date:
        raise ConfigError(
            f"{place}, outcomes, needs schema.date: an outcome belongs to the rows of the"
            f" {outcomes.horizon_days} days before it."
        )
    check_source(outcomes, schema, place)
    check_format(outcomes.format, f"{place}, outcomes.format")
    if outcomes.complete_until is not None:
        try:
            parse_date(outcomes.complete_until)
        except ValueError as error:
            raise ConfigError(
                f"{place}, outcomes.complete_until: expected a date such as 2026-03-31, got"
                f" {outcomes.complete_until!r}."
            ) from error


def check_test_data(config: Config, place: str) -> None:
    """Refuse a config without test data and without dates to choose the latest rows."""
    if config.tests_latest_rows and not config.schema.date:
        raise ConfigError(
            f"{place}: the required field `test_data_path` is missing. It may be null, or left out,"
            " only where schema.date is declared: the latest rows are then the test data."
            " docs/configuration.md lists every key."
        )
