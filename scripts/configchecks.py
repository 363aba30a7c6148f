"""Refuses settings that cannot be right, saying what was found and what to do."""

import difflib
import ipaddress
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

from msgspec import Struct

from scripts.addresses import Address
from scripts.config import (
    KNOWN_OPPOSITES,
    ApiSettings,
    Config,
    EngineSettings,
    Label,
    Schema,
    spell_label,
)
from scripts.errors import ConfigError

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
        known = isinstance(positive, Label) and spell_label(positive) in KNOWN_OPPOSITES
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
    if schema.negative is None and spell_label(schema.positive) not in KNOWN_OPPOSITES:
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
        if not isinstance(found, Address):
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
