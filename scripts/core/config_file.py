"""Reads `config.json`, with absolute paths and every default filled in.

Refuses settings that cannot be right, saying what was found and what to do.
"""

import difflib
import ipaddress
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct

from scripts.core import files
from scripts.core.config import (
    KNOWN_OPPOSITES,
    ApiSettings,
    Config,
    EngineSettings,
    Label,
    Schema,
    normalise_label,
)
from scripts.core.errors import ConfigError
from scripts.core.files import RemotePath

MAX_BYTES = 2**20
DEFAULT_CONFIG_PATH = Path(__file__).resolve().parents[2] / "config.json"


def find_config_path(chosen: Path | None) -> Path:
    """Say which file to read: the chosen one, else ADRAS_CONFIG's, else the one beside scripts."""
    return (chosen or Path(os.environ.get("ADRAS_CONFIG") or DEFAULT_CONFIG_PATH)).absolute()


def database_url(config: Config) -> str:
    """Say where the records are: ADRAS_DATABASE_URL, which may hold a password, comes first."""
    chosen = os.environ.get("ADRAS_DATABASE_URL")
    if chosen:
        return chosen
    if PASSWORD_IN_URL.search(config.database_url):
        raise ConfigError(
            "database_url holds a password; secrets only come from the environment. Set"
            " ADRAS_DATABASE_URL instead."
        )
    return config.database_url


def resolve_paths(config: Config, folder: Path) -> Config:
    """Make the paths of a config absolute; relative ones start at the folder of config.json."""
    found = {key: getattr(config, key) for key in FOLDER_KEYS}
    folders = {
        key: path if isinstance(path, RemotePath) else Path(os.path.normpath(folder / path))
        for key, path in found.items()
    }
    prefix, url = "sqlite:///", database_url(config)
    if url.startswith(prefix) and url.removeprefix(prefix):
        url = f"{prefix}{folder / url.removeprefix(prefix)}"
    api = config.api
    if api.token_file is not None:
        api = msgspec.structs.replace(api, token_file=folder / api.token_file)
    return msgspec.structs.replace(config, **folders, database_url=url, api=api)


def read_path(kind: type, value: object) -> Path:
    """Turn a JSON string into a path, for the decoder."""
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
    """Read a configuration file, of which nothing is waited for and little is taken.

    Raises
    ------
    ConfigError
        If it is no regular file, or larger than any configuration.
    OSError
        If it cannot be read.
    """
    # Not blocking: opening a named pipe would wait until somebody writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as handle:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(f"{path} cannot be read: it is no regular file.")
        # Not by its size, which a file that grows, or one of /proc, does not have.
        content = handle.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path} has more than {MAX_BYTES} bytes, as no config.json needs.")
    return content


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
    README, section "config.json".
    """
    try:
        content = read_content(path)
        settings = msgspec.json.decode(content)
        check_no_doubles(content, str(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}.") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} holds {type(settings).__name__}; expected an object of keys.")
    if isinstance(settings.get("engine"), str):
        settings["engine"] = {"name": settings["engine"]}  # as it was once written
    check_keys(settings, Config, str(path))
    if isinstance(settings.get("schema"), dict):
        settings["schema"] = fill_schema(settings["schema"])
    try:
        config = msgspec.convert(settings, Config, dec_hook=read_path)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}. The README lists every key.") from error
    check_schema(config.schema, str(path), is_declared=True)
    check_engine(config.engine, str(path))
    check_addresses(config, str(path))
    check_api(config.api, str(path))
    config = resolve_paths(config, path.absolute().parent)
    check_folders(config, str(path))
    return config


# A whole run on 200 rows takes 315 MB, one on ten million that may have 400 MB stays within them.
LEAST_MEMORY_GB = 0.4
# A petabyte: more is a slip, and too much more no number of bytes at all.
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
# Of the folders these may be in an object store, and read by a cluster.
READ_KEYS = ("input_folder_path", "test_data_path")


def check_keys(settings: Mapping[str, Any], section: type[Struct], place: str) -> None:
    """Refuse unknown keys, naming the nearest known one."""
    known = list(section.__struct_fields__)
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise ConfigError(
                f"{place} has the unknown key {key!r}; did you mean {near!r}? Known are {known}."
            )
    for key, kind in get_type_hints(section).items():
        is_section = isinstance(kind, type) and issubclass(kind, Struct)
        if is_section and isinstance(settings.get(key), dict):
            check_keys(settings[key], kind, f"{place}, {key},")


def find_doubled(names: Iterable[str]) -> list[str]:
    """List the names that stand there more than once."""
    return sorted(name for name, n_times in Counter(names).items() if n_times > 1)


def check_no_doubles(content: bytes, place: str) -> None:
    """Refuse a key that stands twice in one object; JSON leaves open which of the two counts."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        doubled = find_doubled(key for key, _ in pairs)
        if doubled:
            raise ConfigError(f"{place} has {doubled} more than once in one object; keep one.")

    # Numbers stay text: they are no matter here, and Python refuses very long ones.
    json.loads(content, object_pairs_hook=check, parse_int=str, parse_float=str)


def fill_schema(section: dict[str, Any]) -> dict[str, Any]:
    """Say what a section leaves out: by naming a target it is about a table of its own.

    Without a target it is about the columns of the practice data, with their defaults.
    """
    if "target" not in section or "inferred" in section:
        return section
    inferred = [key for key in ("numeric", "categorical") if key not in section]
    if "negative" not in section:
        positive = section.get("positive", Schema().positive)
        known = isinstance(positive, Label) and normalise_label(positive) in KNOWN_OPPOSITES
        inferred += [] if known else ["negative"]
    empty: dict[str, Any] = {"ids": [], "numeric": [], "categorical": []}
    return empty | section | {"inferred": inferred}


def check_schema(schema: Schema, place: str, *, is_declared: bool = False) -> None:
    """Refuse a schema that names a column twice, or leaves nothing to train on.

    A declared one may leave to the data what it lists as `inferred`.
    """
    if not schema.target:
        raise ConfigError(f"{place}, schema, has no target, which is what is predicted.")
    unknown = set(schema.inferred) if is_declared else set()
    both = sorted(key for key in unknown if getattr(schema, key))
    if both:
        raise ConfigError(f"{place}, schema, lists {both} and asks to infer them as well.")
    named = (*schema.columns, *schema.ignore)
    doubled = find_doubled(named)
    if doubled:
        raise ConfigError(f"{place}, schema, names the columns {doubled} more than once.")
    if not schema.features and not unknown & {"numeric", "categorical"}:
        raise ConfigError(f"{place}, schema, has no numeric and no categorical column to train on.")
    for key, names in (("minimum", schema.minimums), ("percent", schema.percent)):
        strangers = sorted(set(names) - set(schema.numeric))
        if strangers and "numeric" not in unknown:
            raise ConfigError(
                f"{place}, schema.{key}, names {strangers}, which are not numeric columns."
            )
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


def check_folders(config: Config, place: str) -> None:
    """Refuse a folder of client tables that the pipeline would write into."""
    for key in ("output_folder_path", "output_model_path", "prod_deployment_path"):
        for read in READ_KEYS:
            if getattr(config, key) == getattr(config, read):
                raise ConfigError(
                    f"{place}: {key} is the same folder as {read}; what the pipeline writes"
                    " would be read as client data. Choose another folder."
                )


def check_addresses(config: Config, place: str) -> None:
    """Refuse an address where only a folder can be, and any where no cluster reads it."""
    for key in FOLDER_KEYS:
        found = getattr(config, key)
        if not isinstance(found, RemotePath):
            continue
        if key not in READ_KEYS:
            raise ConfigError(
                f"{place}, {key}: expected the path of a folder, got the address {str(found)!r};"
                " of what is written only the dataset may be in an object store,"
                " engine.dataset_address."
            )
        if config.engine.name != "spark":
            raise ConfigError(
                f"{place}, {key} is the address {str(found)!r}, and the pandas engine reads files"
                ' of this machine only. Choose the engine that reads it, {"name": "spark",'
                ' "master": ...}, or give the path of a folder.'
            )
        check_no_password(str(found), f"{place}, {key}")


def check_no_password(address: str, place: str) -> None:
    """Refuse an address that holds a password."""
    if PASSWORD_IN_URL.search(address):
        raise ConfigError(
            f"{place} holds a password; keys of an object store belong into Spark's"
            " spark-defaults.conf, or into the environment."
        )


def check_engine(engine: EngineSettings, place: str) -> None:
    """Refuse a cluster without an address, settings of the other engine, and too little memory."""
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
                f"{place}, engine.{key} says nothing to {engine.name}; take it out, or choose the"
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


def check_api(api: ApiSettings, place: str) -> None:
    """Refuse limits of the risk bands that are the wrong way round, and proxies without address."""
    if api.medium_risk_from > api.high_risk_from:
        raise ConfigError(
            f"{place}, api: medium_risk_from = {api.medium_risk_from} is above high_risk_from ="
            f" {api.high_risk_from}; clients of high risk are the likelier ones."
        )
    for proxy in api.trusted_proxies:
        try:
            ipaddress.ip_address(proxy)
        except ValueError as error:
            raise ConfigError(
                f"{place}, api.trusted_proxies has {proxy!r}; expected addresses such as"
                " '127.0.0.1'."
            ) from error
