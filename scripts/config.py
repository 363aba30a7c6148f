"""What config.json says, checked once and typed."""

import difflib
import ipaddress
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta, Struct

from scripts import addresses
from scripts.addresses import Address
from scripts.errors import ConfigError

DEFAULT_CONFIG_PATH = Path(__file__).resolve().parent.parent / "config.json"
PRACTICE_NUMERIC = ("lastmonth_activity", "lastyear_activity", "number_of_employees")
OPPOSITES = {"1": "0", "true": "false", "true.": "false.", "t": "f", "yes": "no", "y": "n"}
KNOWN_OPPOSITES = OPPOSITES | {no: yes for yes, no in OPPOSITES.items()}
FOLDER_KEYS = (
    "input_folder_path",
    "output_folder_path",
    "test_data_path",
    "output_model_path",
    "prod_deployment_path",
)
# As in postgresql://user:password@host/database, or ?password= at the end.
# A whole run on 200 rows takes 315 MB, one on ten million that may have 400 MB stays within them.
LEAST_MEMORY_GB = 0.4
PASSWORD_IN_URL = re.compile(r"//[^/@]*:[^/@]*@|[?&]password=")
# As Spark spells the address of a cluster; local[2] is this machine alone, to try it.
MASTER = r"^(spark://[^\s,/]+:\d+(,[^\s,/]+:\d+)*|local\[(\d+|\*)\]|yarn|k8s://\S+)?\Z"
ADDRESS = rf"^({addresses.PATTERN})?\Z"
# Of the folders these may be in an object store, and read by a cluster.
READ_KEYS = ("input_folder_path", "test_data_path")
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})

Label = str | int | float | bool
Fraction = Annotated[float, Meta(ge=0, le=1)]


def spell_label(label: Label) -> str:
    """Spell a label the one way in which labels are compared: lower case, whole numbers bare."""
    text = str(label).strip().casefold()
    if not text.isascii() or "_" in text:
        return text  # float() would also take "1_0" and digits of other scripts
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


class NumberMarks(Struct, frozen=True, kw_only=True):
    """How numbers are written in a column."""

    decimal: str = "."
    thousands: str = ""
    percent: bool = False


class Schema(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Name the columns of a client table, and say what each is for and how it is written."""

    target: str = "exited"
    positive: Label = 1
    negative: Label | None = None
    ids: tuple[str, ...] = ("corporation",)
    ignore: tuple[str, ...] = ()
    numeric: tuple[str, ...] = PRACTICE_NUMERIC
    categorical: tuple[str, ...] = ()
    minimum: dict[str, float] | None = None
    separator: Literal["auto", ",", ";", "\t", "|"] = "auto"
    encoding: Literal["auto", "utf-8", "utf-8-sig"] = "auto"
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""
    percent: tuple[str, ...] = ()
    inferred: tuple[Literal["numeric", "categorical", "negative"], ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """The columns a model is trained on, numeric ones first."""
        return (*self.numeric, *self.categorical)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of a table, in the order in which it is written; "" is no target."""
        return (*self.ids, *self.features, *([self.target] if self.target else []))

    @property
    def labels(self) -> dict[str, int]:
        """The two spellings of the label and what they mean: 1 left, 0 stayed."""
        positive = spell_label(self.positive)
        negative = (
            KNOWN_OPPOSITES[positive] if self.negative is None else spell_label(self.negative)
        )
        return {positive: 1, negative: 0}

    @property
    def minimums(self) -> dict[str, float]:
        """Smallest allowed value of each numeric column that has one."""
        if self.minimum is not None:
            return self.minimum
        practice = set(self.numeric) == set(PRACTICE_NUMERIC)
        return dict.fromkeys(self.numeric, 0.0) if practice else {}

    def marks(self, column: str) -> NumberMarks:
        """How the numbers of a column are written."""
        return NumberMarks(
            decimal=self.decimal, thousands=self.thousands, percent=column in self.percent
        )


class IngestionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say when an input file counts as complete."""

    settle_s: Annotated[float, Meta(ge=0, le=600)] = 2.0


class TrainingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the fit; the names are scikit-learn's where it has one."""

    C: Annotated[float, Meta(gt=0)] = 1.0
    validation_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    random_state: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 42
    decision_threshold: Fraction | Literal["auto"] = "auto"


class PromotionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a candidate must show, besides a higher F1, to be deployed."""

    min_probability: Fraction = 0.5
    min_test_rows: Annotated[int, Meta(ge=1)] = 1
    min_positives: Annotated[int, Meta(ge=1)] = 1


class ApiSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the service listens, whom it lets in, and what it takes, answers and remembers."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8000
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    token_file: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    max_rows: Annotated[int, Meta(ge=1)] = 10_000
    max_body_bytes: Annotated[int, Meta(ge=1024)] = 8 * 2**20
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 10.0
    medium_risk_from: Fraction = 0.3
    high_risk_from: Fraction = 0.6
    stale_after_minutes: Annotated[float, Meta(gt=0)] = 60.0
    access_log: bool = True
    log_predictions: Annotated[float, Meta(gt=0, le=1)] | None = None


class EngineSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What works on the tables, where, and in how much memory."""

    name: Literal["pandas", "spark"] = "pandas"
    master: Annotated[str, Meta(pattern=MASTER)] = ""
    memory_limit_gb: Annotated[float, Meta(gt=0)] | None = None
    dataset_format: Literal["parquet", "csv"] = "parquet"
    dataset_address: Annotated[str, Meta(pattern=ADDRESS)] = ""


class RunSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a run may take."""

    timeout_minutes: Annotated[float, Meta(gt=0, le=1440)] = 8.0


class WorklistSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say how many clients the team can call, and whose probability is not honest."""

    capacity: Annotated[int, Meta(ge=1)] | None = None
    max_blank_fraction: Fraction = 0.5


class RetentionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many runs' files, releases, scorings, runs' records and logged predictions are kept."""

    runs: Annotated[int, Meta(ge=2)] = 30
    releases: Annotated[int, Meta(ge=2)] = 10
    scorings: Annotated[int, Meta(ge=2)] = 12
    history: Annotated[int, Meta(ge=2)] = 10_000
    predictions: Annotated[int, Meta(ge=1)] = 100_000


class AlertSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is told when a run, the data or the model change for the worse, or back."""

    webhook_url: Annotated[str, Meta(pattern=r"^(https?://[^\s/?#]+\S*)?\Z")] = ""
    ping_url: Annotated[str, Meta(pattern=r"^(https?://[^\s/?#]+\S*)?\Z")] = ""


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One installation: its folders, absolute, and its settings."""

    input_folder_path: Path
    output_folder_path: Path
    test_data_path: Path
    output_model_path: Path
    prod_deployment_path: Path
    schema: Schema = Schema()
    ingestion: IngestionSettings = IngestionSettings()
    training: TrainingSettings = TrainingSettings()
    promotion: PromotionSettings = PromotionSettings()
    database_url: str = "sqlite:///adras.db"
    api: ApiSettings = ApiSettings()
    engine: EngineSettings = EngineSettings()
    run: RunSettings = RunSettings()
    retention: RetentionSettings = RetentionSettings()
    worklist: WorklistSettings = WorklistSettings()
    alerts: AlertSettings = AlertSettings()

    @property
    def api_url(self) -> str:
        """Where programs on this machine reach the service."""
        host = "127.0.0.1" if self.api.host in ("0.0.0.0", "::") else self.api.host  # noqa: S104 - compared, not bound
        return (
            f"http://[{host}]:{self.api.port}" if ":" in host else f"http://{host}:{self.api.port}"
        )


def find_config_path(chosen: Path | None) -> Path:
    """Say which file to read: the chosen one, else ADRAS_CONFIG's, else the one beside scripts."""
    return (chosen or Path(os.environ.get("ADRAS_CONFIG") or DEFAULT_CONFIG_PATH)).absolute()


def webhook_url(config: Config) -> str:
    """Say where alerts go, "" for nowhere; the environment, fit for a secret address, wins."""
    return os.environ.get("ADRAS_WEBHOOK_URL") or config.alerts.webhook_url


def ping_url(config: Config) -> str:
    """Say which monitor is told of runs, "" for none; the environment wins, as for alerts."""
    return os.environ.get("ADRAS_PING_URL") or config.alerts.ping_url


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


def check_no_doubles(content: bytes, place: str) -> None:
    """Refuse a key that stands twice in one object; JSON leaves open which of the two counts."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        keys = [key for key, _ in pairs]
        doubled = sorted({key for key in keys if keys.count(key) > 1})
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
    doubled = sorted({name for name in named if named.count(name) > 1})
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
        If the file is missing, is not JSON, lacks a required key, has an unknown one or one
        twice, or a value that cannot be right.

    Notes
    -----
    README, section "config.json".
    """
    try:
        content = path.read_bytes()
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


if __name__ == "__main__":
    # `python -m scripts.config suggest` looks at data, which stands far above this module. Started
    # as a program, and only then, it hands over; imported, it knows nothing of what is above.
    from scripts.suggest import command

    command.main(prog_name="python -m scripts.config")
