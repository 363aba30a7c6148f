"""What config.json says, checked once and typed."""

import os
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from scripts.core import files

PRACTICE_NUMERIC = ("lastmonth_activity", "lastyear_activity", "number_of_employees")
OPPOSITES = {"1": "0", "true": "false", "true.": "false.", "t": "f", "yes": "no", "y": "n"}
KNOWN_OPPOSITES = OPPOSITES | {no: yes for yes, no in OPPOSITES.items()}
# As Spark spells the address of a cluster; local[2] is this machine alone, to try it.
MASTER = r"^(spark://[^\s,/]+:\d+(,[^\s,/]+:\d+)*|local\[(\d+|\*)\]|yarn|k8s://\S+)?\Z"
# The name of the model in the paths of the open inference protocol.
MODEL_NAME = r"^[A-Za-z0-9._-]{1,100}\Z"
ADDRESS = rf"^({files.REMOTE_PATTERN})?\Z"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})

Label = str | int | float | bool
Fraction = Annotated[float, Meta(ge=0, le=1)]


def normalise_label(label: Label) -> str:
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
        positive = normalise_label(self.positive)
        negative = (
            KNOWN_OPPOSITES[positive] if self.negative is None else normalise_label(self.negative)
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
    """Say when an input file counts as complete, and whether equal rows are dropped."""

    settle_s: Annotated[float, Meta(ge=0, le=600)] = 2.0
    drop_duplicates: bool | None = None


class TrainingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the fit; the names are scikit-learn's where it has one."""

    C: Annotated[float, Meta(gt=0)] = 1.0
    validation_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    random_state: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 42
    decision_threshold: Fraction | Literal["auto"] = "auto"


class PromotionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a candidate must show, besides a higher F1, to be deployed."""

    min_probability: Fraction = 0.0
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
    model_name: Annotated[str, Meta(pattern=MODEL_NAME)] = "adras"


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


def webhook_url(config: Config) -> str:
    """Say where alerts go, "" for nowhere; the environment, fit for a secret address, wins."""
    return os.environ.get("ADRAS_WEBHOOK_URL") or config.alerts.webhook_url


def ping_url(config: Config) -> str:
    """Say which monitor is told of runs, "" for none; the environment wins, as for alerts."""
    return os.environ.get("ADRAS_PING_URL") or config.alerts.ping_url
