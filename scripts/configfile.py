"""Reads `config.json`, with absolute paths and every default filled in."""

import os
import stat
from pathlib import Path

import msgspec

from scripts import addresses
from scripts.addresses import Address
from scripts.config import Config
from scripts.configchecks import (
    FOLDER_KEYS,
    PASSWORD_IN_URL,
    check_addresses,
    check_api,
    check_engine,
    check_folders,
    check_keys,
    check_no_doubles,
    check_schema,
    fill_schema,
)
from scripts.errors import ConfigError

MAX_BYTES = 2**20
DEFAULT_CONFIG_PATH = Path(__file__).resolve().parent.parent / "config.json"


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
        key: path if isinstance(path, Address) else Path(os.path.normpath(folder / path))
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
    if addresses.is_address(value):
        return Address(value)
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
