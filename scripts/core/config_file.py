"""Reads and checks `config.json`."""

import difflib
import ipaddress
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Struct

from scripts.core import check_limits, delivery_settings, files, time_settings, value_settings
from scripts.core.config import (
    KNOWN_OPPOSITES,
    LATEST_ROWS,
    ApiSettings,
    Config,
    EngineSettings,
    Label,
    PromotionSettings,
    RunSettings,
    Schema,
    normalise_label,
)
from scripts.core.errors import ConfigError
from scripts.core.files import RemotePath
from scripts.core.names import find_duplicates

Section = TypeVar("Section", bound=Struct)

MAX_BYTES = 2**20
DEFAULT_CONFIG_PATH = Path(__file__).resolve().parents[2] / "config.json"
# A run on 200 rows takes 315 MB; a run on ten million rows stays within a limit of 400 MB.
LEAST_MEMORY_GB = 0.4
# A petabyte: a larger limit is a mistake, and far larger ones overflow.
MOST_MEMORY_GB = 2**20
# As in postgresql://user:password@host/database, or ?password= or ?sslpassword= at the end.
PASSWORD_IN_URL = re.compile(r"//[^/@:]*+:[^/@]*+@|[?&](ssl)?password=")
FOLDER_KEYS = (
    "input_folder_path",
    "output_folder_path",
    "test_data_path",
    "output_model_path",
    "prod_deployment_path",
)
# Folders that may lie in an object store, for the Spark engine.
READ_KEYS = ("input_folder_path", "test_data_path")
OUTCOMES_KEY = "outcomes.input_folder_path"
# The target of a table whose outcomes come in files of their own, unless a column is called so.
LEFT, LEFT_WITHIN = "left", "left within the horizon"


def find_config_path(chosen: Path | None) -> Path:
    """Return the config path: the given path, $ADRAS_CONFIG, or the file beside scripts."""
    return (chosen or Path(os.environ.get("ADRAS_CONFIG") or DEFAULT_CONFIG_PATH)).absolute()


def database_url(config: Config) -> str:
    """Return the database URL from ADRAS_DATABASE_URL or else the config.

    Only the environment may hold a password.
    """
    chosen = os.environ.get("ADRAS_DATABASE_URL")
    if chosen:
        return chosen
    if PASSWORD_IN_URL.search(config.database_url):
        raise ConfigError(
            "database_url holds a password; secrets only come from the environment. Set"
            " ADRAS_DATABASE_URL instead."
        )
    return config.database_url


def resolve_files(section: Section, folder: Path, *keys: str) -> Section:
    """Return a section with absolute paths for some files."""
    paths = {key: getattr(section, key) for key in keys}
    found = {key: folder / path for key, path in paths.items() if path is not None}
    return msgspec.structs.replace(section, **found)


def resolve_paths(config: Config, folder: Path) -> Config:
    """Return a config with absolute paths, relative to the folder of config.json."""
    paths = {key: getattr(config, key) for key in FOLDER_KEYS}
    folders = {
        key: path
        if isinstance(path, RemotePath) or path is LATEST_ROWS
        else Path(os.path.normpath(folder / path))
        for key, path in paths.items()
    }
    prefix, url = "sqlite:///", database_url(config)
    if url.startswith(prefix) and url.removeprefix(prefix):
        url = f"{prefix}{folder / url.removeprefix(prefix)}"
    api = resolve_files(config.api, folder, "token_file")
    worklist = resolve_files(config.worklist, folder, "webhook_secret_file")
    alerts = config.alerts
    if alerts.smtp is not None:
        smtp = resolve_files(alerts.smtp, folder, "password_file", "ca_file")
        alerts = msgspec.structs.replace(alerts, smtp=smtp)
    outcomes = config.outcomes
    place = None if outcomes is None else outcomes.input_folder_path
    if outcomes is not None and place is not None and not isinstance(place, RemotePath):
        place = Path(os.path.normpath(folder / place))
        outcomes = msgspec.structs.replace(outcomes, input_folder_path=place)
    return msgspec.structs.replace(
        config, **folders, database_url=url, api=api, outcomes=outcomes, worklist=worklist,
        alerts=alerts,
    )  # fmt: skip


def read_path(kind: type, value: object) -> Path:
    """Convert a JSON string to a path, as a hook of the decoder."""
    if kind is not Path or not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"Expected the path of a folder, got {value!r}")
    if files.is_remote(value):
        return RemotePath(value)
    if "://" in value:
        raise ValueError(
            f"Expected the path of a folder, or an address such as 's3a://bucket/folder', got"
            f" {value!r}"
        )
    return Path(value)


def read_content(path: Path) -> bytes:
    """Read the content of a configuration file, without blocking and up to a size limit.

    Raises
    ------
    ConfigError
        If the path is no regular file, or the file has more than MAX_BYTES.
    OSError
        If the file cannot be read.
    """
    # Not blocking: opening a named pipe would wait until somebody writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as handle:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(f"{path} cannot be read: it is no regular file.")
        # The size from stat is unreliable for a growing file, and 0 in /proc.
        content = handle.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path} has more than {MAX_BYTES} bytes, as no config.json needs.")
    return content


def check_keys(settings: Mapping[str, Any], section: type[Struct], place: str) -> None:
    """Refuse unknown keys, with the nearest known key in the message."""
    known = list(section.__struct_encode_fields__)
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise ConfigError(
                f"{place} has the unknown key {key!r}; did you mean {near!r}? Known are {known}."
            )
    for key, kind in get_type_hints(section).items():
        sections = [k for k in (kind, *get_args(kind)) if isinstance(k, type)]
        for inner in (k for k in sections if issubclass(k, Struct)):
            if isinstance(settings.get(key), dict):
                check_keys(settings[key], inner, f"{place.rstrip(',')}, {key},")


def check_no_duplicates(content: bytes, place: str) -> None:
    """Refuse a duplicate key in an object, whose value JSON leaves undefined."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        """Raise for a key that an object has more than once."""
        duplicates = find_duplicates(key for key, _ in pairs)
        if duplicates:
            raise ConfigError(f"{place} has {duplicates} more than once in one object; keep one.")

    # Numbers stay text: their values do not matter, and Python refuses very long integers.
    json.loads(content, object_pairs_hook=check, parse_int=str, parse_float=str)


def choose_key(section: dict[str, Any]) -> dict[str, Any]:
    """Return a schema section with the key as the only identifier, if a key or a date is set.

    The key is the first identifier by default. The others are names for people: a missing or a
    changed value loses no client and doubles none. A name is no feature.
    """
    ids, ignored, names = (section.get(key, []) for key in ("ids", "ignore", "names"))
    if not all(isinstance(columns, list) for columns in (ids, ignored, names)):
        return section
    key = section.get("key") or (ids[0] if ids and "date" in section else None)
    if key is not None:
        names = list(dict.fromkeys([*names, *(name for name in ids if name != key)]))
        section = section | {"ids": [key]}
    if not names:
        return section
    others = [name for name in names if name not in (*section.get("ids", []), *ignored)]
    return section | {"names": names, "ignore": [*ignored, *others]}


def fill_schema(section: dict[str, Any], *, has_outcomes: bool = False) -> dict[str, Any]:
    """Return a schema section with the keys to infer from the data, if a target is named.

    Without a target the section describes the practice data, and their defaults apply. Outcomes
    are a target, too.
    """
    if has_outcomes:
        leaving = section.get("leaving")
        column = leaving.get("column") if isinstance(leaving, dict) else leaving
        section = {"target": LEFT if column != LEFT else LEFT_WITHIN} | section
    if "target" not in section:
        return section
    section = choose_key(section)
    if "inferred" in section:
        return section
    inferred = [key for key in ("numeric", "categorical") if key not in section]
    if "negative" not in section:
        positive = section.get("positive", Schema().positive)
        known = isinstance(positive, Label) and normalise_label(positive) in KNOWN_OPPOSITES
        inferred += [] if known else ["negative"]
    empty: dict[str, Any] = {"ids": [], "numeric": [], "categorical": []}
    return empty | section | {"inferred": inferred}


def check_schema(schema: Schema, place: str, *, is_declared: bool = False) -> None:
    """Refuse a schema with duplicate columns or without features.

    A declared schema may leave the keys in `inferred` to the data.
    """
    if not schema.target:
        raise ConfigError(f"{place}, schema, has no target; name the column to predict.")
    unknown = set(schema.inferred) if is_declared else set()
    both = sorted(key for key in unknown if getattr(schema, key))
    if both:
        raise ConfigError(f"{place}, schema, lists {both} and asks to infer them as well.")
    duplicates = find_duplicates((*schema.columns, *schema.ignore))
    if duplicates:
        raise ConfigError(f"{place}, schema, names the columns {duplicates} more than once.")
    is_derived = schema.date_formats or schema.ratios
    if not (schema.features or is_derived or unknown & {"numeric", "categorical"}):
        raise ConfigError(f"{place}, schema, has no numeric and no categorical column to train on.")
    marked = {"minimum": schema.minimums, "percent": schema.percent}
    for key, names in (marked | {"currency": schema.currency or {}}).items():
        strangers = sorted(set(names) - set(schema.numeric))
        if strangers and "numeric" not in unknown:
            raise ConfigError(
                f"{place}, schema.{key}, names {strangers}, which are not numeric columns."
            )
    time_settings.check_time(schema, place, is_numeric_known="numeric" not in unknown)
    if schema.thousands == schema.decimal:
        raise ConfigError(
            f"{place}, schema: thousands and decimal are both {schema.decimal!r}; a number could"
            " be read in two ways."
        )
    if "negative" in unknown:
        return
    if schema.negative is None and normalise_label(schema.positive) not in KNOWN_OPPOSITES:
        raise ConfigError(
            f"{place}, schema: the opposite of positive = {schema.positive!r} is not known;"
            " add schema.negative with the label of clients who stayed."
        )
    if len(schema.labels) != len({"positive", "negative"}):
        raise ConfigError(f"{place}, schema: positive and negative are the same label.")


def check_groups(schema: Schema, place: str) -> None:
    """Refuse a column in two groups, and a group without a name or a column."""
    seen: dict[str, str] = {}
    for group, columns in (schema.column_groups or {}).items():
        if not group.strip() or not columns:
            raise ConfigError(f"{place}, schema.groups: the group {group!r} has no name or column.")
        for column in columns:
            if column in seen:
                raise ConfigError(
                    f"{place}, schema.groups: the column {column!r} is in {seen[column]!r} and"
                    f" {group!r}; a column has one group."
                )
            seen[column] = group


def check_folders(config: Config, place: str) -> None:
    """Refuse equal folders for input tables and for output."""
    read_folders = {key: getattr(config, key) for key in READ_KEYS}
    if config.outcomes is not None and config.outcomes.input_folder_path is not None:
        read_folders[OUTCOMES_KEY] = config.outcomes.input_folder_path
        if config.outcomes.input_folder_path in (config.input_folder_path, config.test_data_path):
            raise ConfigError(
                f"{place}: {OUTCOMES_KEY} is a folder of client tables; files of outcomes need a"
                " folder of their own."
            )
    for key in ("output_folder_path", "output_model_path", "prod_deployment_path"):
        for read, folder in read_folders.items():
            if getattr(config, key) == folder:
                raise ConfigError(
                    f"{place}: {key} is the same folder as {read}; what the pipeline writes"
                    " would be read as client data. Choose another folder."
                )


def check_no_password(address: str, place: str) -> None:
    """Refuse a password in an address."""
    if PASSWORD_IN_URL.search(address):
        raise ConfigError(
            f"{place} holds a password; keys of an object store belong into Spark's"
            " spark-defaults.conf, or into the environment."
        )


def check_addresses(config: Config, place: str) -> None:
    """Refuse addresses of object stores for output folders, and without the Spark engine."""
    paths = {key: getattr(config, key) for key in FOLDER_KEYS}
    if config.outcomes is not None and config.outcomes.input_folder_path is not None:
        paths[OUTCOMES_KEY] = config.outcomes.input_folder_path
    for key, path in paths.items():
        if not isinstance(path, RemotePath):
            continue
        if key not in (*READ_KEYS, OUTCOMES_KEY):
            raise ConfigError(
                f"{place}, {key}: expected the path of a folder, got the address {str(path)!r};"
                " only the dataset may be written to an object store, with"
                " engine.dataset_address."
            )
        if config.engine.name != "spark":
            raise ConfigError(
                f"{place}, {key} is the address {str(path)!r}, and the pandas engine reads files"
                ' of this machine only. Choose the engine that reads it, {"name": "spark",'
                ' "master": ...}, or give the path of a folder.'
            )
        check_no_password(str(path), f"{place}, {key}")


def check_engine(engine: EngineSettings, place: str) -> None:
    """Refuse a missing cluster address, settings of another engine, and invalid memory limits."""
    if engine.name == "spark" and not engine.master:
        raise ConfigError(
            f'{place}, engine: spark needs the address of its cluster, such as "master":'
            ' "spark://cluster.example.com:7077".'
        )
    others = {
        "pandas": ("master", "dataset_format", "dataset_address"), "spark": ("memory_limit_gb",)
    }  # fmt: skip
    for key in others[engine.name]:
        if getattr(engine, key) != getattr(EngineSettings(), key):
            raise ConfigError(
                f"{place}, engine.{key} has no meaning for {engine.name}; remove it, or choose the"
                " other engine."
            )
    if engine.memory_limit_gb is not None and engine.memory_limit_gb < LEAST_MEMORY_GB:
        raise ConfigError(
            f"{place}, engine.memory_limit_gb = {engine.memory_limit_gb:g}: the libraries and the"
            f" report of a run take more, however little data there is; give {LEAST_MEMORY_GB:g}"
            " or more."
        )
    if engine.memory_limit_gb is not None and engine.memory_limit_gb > MOST_MEMORY_GB:
        raise ConfigError(
            f"{place}, engine.memory_limit_gb = {engine.memory_limit_gb:g}: no machine has so much;"
            f" expected gigabytes, {MOST_MEMORY_GB} at most."
        )
    check_no_password(engine.dataset_address, f"{place}, engine.dataset_address")


def check_metric(config: Config, place: str) -> None:
    """Refuse a metric of the promotion without the required settings."""
    metric, worklist = config.promotion.metric, config.worklist
    needed = {
        "recall_at_capacity": (worklist.capacity, "worklist.capacity, the number of calls"),
        "expected_gain": (worklist.value, "worklist.value and worklist.costs"),
    }
    if metric in needed and needed[metric][0] is None:
        raise ConfigError(f'{place}: promotion.metric "{metric}" needs {needed[metric][1]}.')
    if metric != "f1" and config.promotion.rule == "not_worse":
        raise ConfigError(
            f'{place}: promotion.metric "{metric}" belongs to promotion.rule "better"; the rule'
            ' "not_worse" compares by log loss. Remove one of the two.'
        )


def check_promotion(promotion: PromotionSettings, place: str) -> None:
    """Refuse a limit of P(better) under a rule without an improvement."""
    if promotion.rule == "not_worse" and promotion.min_probability > 0:
        raise ConfigError(
            f'{place}: promotion.min_probability belongs to promotion.rule "better"; by the rule'
            ' "not_worse" a candidate need not be better. Remove one of the two.'
        )


def check_run(run: RunSettings, place: str) -> None:
    """Refuse a limit of the whole run below the limit without progress."""
    if run.limit_minutes is not None and run.limit_minutes < run.timeout_minutes:
        raise ConfigError(
            f"{place}, run: limit_minutes = {run.limit_minutes:g} is below timeout_minutes ="
            f" {run.timeout_minutes:g}; expected timeout_minutes <= limit_minutes, or null for no"
            " limit."
        )


def check_api(api: ApiSettings, place: str) -> None:
    """Refuse risk bands in the wrong order, and proxies without an IP address."""
    medium, high = api.medium_risk_from, api.high_risk_from
    if isinstance(medium, float) and isinstance(high, float) and medium > high:
        raise ConfigError(
            f"{place}, api: medium_risk_from = {api.medium_risk_from} is above high_risk_from ="
            f" {api.high_risk_from}; expected medium_risk_from <= high_risk_from."
        )
    for proxy in api.trusted_proxies:
        try:
            ipaddress.ip_address(proxy)
        except ValueError as error:
            raise ConfigError(
                f"{place}, api.trusted_proxies has {proxy!r}; expected addresses such as"
                " '127.0.0.1'."
            ) from error


def read_settings(path: Path) -> dict[str, Any]:
    """Read the settings of config.json, with known keys only, in the present format."""
    try:
        content = read_content(path)
        settings = msgspec.json.decode(content)
        check_no_duplicates(content, str(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}.") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} holds {type(settings).__name__}; expected an object of keys.")
    if isinstance(settings.get("engine"), str):
        settings["engine"] = {"name": settings["engine"]}  # the format of earlier versions
    check_keys(settings, Config, str(path))
    if settings.get("test_data_path", 0) is None:
        del settings["test_data_path"]
    if isinstance(settings.get("schema"), dict):
        has_outcomes = isinstance(settings.get("outcomes"), dict) or "leaving" in settings["schema"]
        settings["schema"] = fill_schema(settings["schema"], has_outcomes=has_outcomes)
    return settings


def check_config(config: Config, place: str) -> None:
    """Refuse settings without a meaning, or in conflict with each other."""
    check_schema(config.schema, place, is_declared=True)
    if config.outcomes is not None:
        time_settings.check_outcomes(config.outcomes, config.schema, place)
    elif config.schema.leaving_column is not None:
        raise ConfigError(
            f'{place}, schema.leaving, needs outcomes, such as {{"horizon_days": 90}}: how far'
            " ahead you want to know."
        )
    time_settings.check_test_data(config, place)
    check_engine(config.engine, place)
    check_addresses(config, place)
    check_promotion(config.promotion, place)
    check_metric(config, place)
    value_settings.check_value(config, place)
    value_settings.check_shown(config, place)
    value_settings.check_names(config.schema, place)
    value_settings.check_holdout(config, place)
    check_api(config.api, place)
    delivery_settings.check(config, place)
    check_limits.check(config.checks, place)
    check_run(config.run, place)


def read_config(path: Path) -> Config:
    """Read and check config.json.

    Parameters
    ----------
    path : Path
        The file; relative paths in it start at its folder.

    Returns
    -------
    Config
        With absolute paths and every default filled in.

    Raises
    ------
    ConfigError
        If the file is missing, is no regular file of at most 1 MB, is not JSON, lacks a required
        key, has an unknown one or one twice, or a value that cannot be right.

    Notes
    -----
    docs/configuration.md.
    """
    settings = read_settings(path)
    try:
        config = msgspec.convert(settings, Config, dec_hook=read_path)
    except msgspec.ValidationError as error:
        hint = f" {check_limits.EXPECTED}" if "`$.checks." in str(error) else ""
        raise ConfigError(
            f"{path}: {error}.{hint} docs/configuration.md lists every key."
        ) from error
    check_config(config, str(path))
    config = resolve_paths(config, path.absolute().parent)
    check_folders(config, str(path))
    check_groups(config.schema, str(path))
    return config
