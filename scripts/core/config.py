"""Defines the typed settings of config.json."""

import os
from pathlib import Path
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import replace

from scripts.core import files

PRACTICE_NUMERIC = ("lastmonth_activity", "lastyear_activity", "number_of_employees")
OPPOSITES = {"1": "0", "true": "false", "true.": "false.", "t": "f", "yes": "no", "y": "n"}
KNOWN_OPPOSITES = OPPOSITES | {no: yes for yes, no in OPPOSITES.items()}
# Spark's format for the address of a cluster; local[2] is this machine alone, for trials.
MASTER = r"^(spark://[^\s,/]+:\d+(,[^\s,/]+:\d+)*|local\[(\d+|\*)\]|yarn|k8s://\S+)?\Z"
# The name of the model in the paths of the open inference protocol.
MODEL_NAME = r"^[A-Za-z0-9._-]{1,100}\Z"
# A sign such as $, € or R$, a code such as CHF, or an abbreviation such as kr or Fr.
CURRENCY_SIGN = r"^[^\d\s.,'%+-][^\d\s,'%+-]{0,4}\Z"
ADDRESS = rf"^({files.REMOTE_PATTERN})?\Z"
WEB_ADDRESS = r"^(https?://[^\s/?#]+\S*)?\Z"
MAIL_HOST = r"^[A-Za-z0-9.:_-]{1,253}\Z"
MAIL_ADDRESS = r"^[!-~]{1,64}@[A-Za-z0-9.-]{1,253}\Z"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})

# Instead of a folder of test data: the latest rows of the input, chosen by ingestion.
LATEST_ROWS = Path("the latest rows")
# The date of a row stands in the name of its file.
FILE_NAME = "file_name"
ISO_FORMAT = "%Y-%m-%d"
# The name of the row's date in a dataset, where files name no column, and in requests.
AS_OF = "as_of"

Label = str | int | float | bool
Direction = Literal["increasing", "decreasing"]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
Amount = Annotated[float, Meta(ge=0, le=1e12)]


def normalise_label(label: Label) -> str:
    """Return the canonical text of a label: lower case, whole numbers without a fraction."""
    text = str(label).strip().casefold()
    if not text.isascii() or "_" in text:
        return text  # float() would also take "1_0" and digits of other scripts
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


class NumberMarks(Struct, frozen=True, kw_only=True):
    """Decimal mark, thousands separator, percent and currency sign of the numbers in a column."""

    decimal: str = "."
    thousands: str = ""
    percent: bool = False
    currency: str = ""


class DateColumn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A column of dates with the format for `datetime.strptime`."""

    column: str
    format: str = ISO_FORMAT


class LeavingColumn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A column of the day of leaving, blank for clients, or of a status with labels of leavers."""

    column: str
    format: str = ISO_FORMAT
    labels: tuple[Label, ...] = ()


class ColumnLabel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The name of a column for people, and the unit of its values."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    unit: Annotated[str, Meta(max_length=20)] = ""


class Schema(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Columns of a client table with their roles and number formats.

    The keys about time and currencies are left out of the encoded schema unless they are declared,
    so that the models of tables without them keep their bytes.
    """

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
    key: str | UnsetType = UNSET
    date: str | DateColumn | UnsetType = UNSET
    dates: tuple[str, ...] | dict[str, str] | UnsetType = UNSET
    leaving: str | LeavingColumn | UnsetType = UNSET
    changes: tuple[str, ...] | UnsetType = UNSET
    ratios: dict[str, tuple[str, str]] | UnsetType = UNSET
    currency: dict[str, Annotated[str, Meta(pattern=CURRENCY_SIGN)]] | UnsetType = UNSET
    # The keys `names`, `labels` and `groups` are for people only, and no part of a model.
    names: tuple[str, ...] | UnsetType = UNSET
    column_labels: dict[str, ColumnLabel] | UnsetType = field(default=UNSET, name="labels")
    column_groups: dict[str, tuple[str, ...]] | UnsetType = field(default=UNSET, name="groups")

    def without_words(self) -> "Schema":
        """Return the schema without the words for people."""
        return replace(self, names=UNSET, column_labels=UNSET, column_groups=UNSET)

    @property
    def date_column(self) -> DateColumn | None:
        """Column and format of a row's own date, None for a table without dates."""
        if isinstance(self.date, str):
            return DateColumn(column=self.date)
        return self.date or None

    @property
    def leaving_column(self) -> LeavingColumn | None:
        """Column with the day of leaving or the status of a client, None without one."""
        if isinstance(self.leaving, str):
            return LeavingColumn(column=self.leaving)
        return self.leaving or None

    @property
    def status_columns(self) -> tuple[str, ...]:
        """Text columns that are read and no features: the status of a client, if declared."""
        leaving = self.leaving_column
        return () if leaving is None or not leaving.labels else (leaving.column,)

    @property
    def leaving_names(self) -> tuple[str, ...]:
        """The column of `leaving_column`, if there is one."""
        return () if self.leaving_column is None else (self.leaving_column.column,)

    @property
    def date_formats(self) -> dict[str, str]:
        """Format of each further date column, by name."""
        if isinstance(self.dates, dict):
            return self.dates
        return dict.fromkeys(self.dates or (), ISO_FORMAT)

    @property
    def client_key(self) -> str:
        """Column of a client's identity over time, "" for all identifiers together."""
        if self.key:
            return self.key
        return self.ids[0] if self.date and self.ids else ""

    @property
    def names_for_people(self) -> tuple[str, ...]:
        """The columns with names of a client for people beside the key, for example the company."""
        return self.names or ()

    @property
    def as_of(self) -> str:
        """Name of the row's own date in a dataset and in requests."""
        own = self.date_column
        return AS_OF if own is None or own.column == FILE_NAME else own.column

    @property
    def client_ids(self) -> tuple[str, ...]:
        """The columns of a client's identity: the key, or all identifiers without a key."""
        return (self.client_key,) if self.client_key else self.ids

    @property
    def date_cells(self) -> dict[str, str]:
        """Date format by column of a file: the row's own date, the others, the day of leaving."""
        own, leaving = self.date_column, self.leaving_column
        first = {} if own is None or own.column == FILE_NAME else {own.column: own.format}
        is_day = leaving is not None and not leaving.labels
        last = {leaving.column: leaving.format} if leaving is not None and is_day else {}
        return first | self.date_formats | last

    @property
    def features(self) -> tuple[str, ...]:
        """Feature columns of the model, numeric before categorical."""
        return (*self.numeric, *self.categorical)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of a dataset in file order, without an empty target."""
        return (*self.ids, *self.features, *([self.target] if self.target else []))

    @property
    def file_columns(self) -> tuple[str, ...]:
        """All required columns of a client file."""
        return (*self.columns, *self.date_cells, *self.status_columns)

    @property
    def labels(self) -> dict[str, int]:
        """Canonical label texts with their classes: 1 left, 0 stayed."""
        positive = normalise_label(self.positive)
        negative = (
            KNOWN_OPPOSITES[positive] if self.negative is None else normalise_label(self.negative)
        )
        return {positive: 1, negative: 0}

    @property
    def minimums(self) -> dict[str, float]:
        """Smallest allowed value by numeric column."""
        if self.minimum is not None:
            return self.minimum
        practice = set(self.numeric) == set(PRACTICE_NUMERIC)
        return dict.fromkeys(self.numeric, 0.0) if practice else {}

    def marks(self, column: str) -> NumberMarks:
        """Return the number format of a column."""
        signs = self.currency or {}
        return NumberMarks(
            decimal=self.decimal, thousands=self.thousands, percent=column in self.percent,
            currency=signs.get(column, ""),
        )  # fmt: skip


class IngestionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the ingestion: age of a complete file, and removal of duplicates."""

    settle_s: Annotated[float, Meta(ge=0, le=600)] = 2.0
    drop_duplicates: bool | None = None


class OutcomeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of outcomes: key and date of leaving, or key, date and label.

    Without a folder the client tables have the outcomes, in the column of `Schema.leaving`.
    """

    horizon_days: Annotated[int, Meta(ge=1, le=3660)]
    input_folder_path: Path | None = None
    date: str = ""
    key: str = ""
    label: str = ""
    format: str = ISO_FORMAT
    complete_until: str | None = None


class TrainingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the fit, by scikit-learn's names where possible."""

    C: Annotated[float, Meta(gt=0)] = 1.0
    validation_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    random_state: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 42
    max_rows: Annotated[int, Meta(ge=1_000)] | None = 1_000_000
    decision_threshold: Fraction | Literal["auto"] = "auto"
    model: Literal["auto", "additive", "linear"] = "auto"
    monotone: dict[str, Direction] = {}


class PromotionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Metric and conditions of a promotion, and who approves the promotion."""

    mode: Literal["automatic", "approve"] = "automatic"
    rule: Literal["better", "not_worse"] = "better"
    metric: Literal["f1", "log_loss", "recall_at_capacity", "expected_gain"] = "f1"
    min_probability: Fraction = 0.0
    min_test_rows: Annotated[int, Meta(ge=1)] = 1
    min_positives: Annotated[int, Meta(ge=1)] = 1


class EvaluationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Columns with groups of clients, and the least rows of a group."""

    groups: tuple[str, ...] = ()
    min_group_rows: Annotated[int, Meta(ge=2)] = 50


class ApiSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the HTTP service: address, access, limits, risk bands and logs."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8000
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    token_file: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    max_rows: Annotated[int, Meta(ge=1)] = 10_000
    max_body_bytes: Annotated[int, Meta(ge=1024)] = 8 * 2**20
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 10.0
    medium_risk_from: Fraction | Literal["auto"] = "auto"
    high_risk_from: Fraction | Literal["auto"] = "auto"
    stale_after_minutes: Annotated[float, Meta(gt=0)] = 60.0
    access_log: bool = True
    log_predictions: Annotated[float, Meta(gt=0, le=1)] | None = None
    model_name: Annotated[str, Meta(pattern=MODEL_NAME)] = "adras"


class EngineSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Engine for the tables, with the cluster address or memory limit."""

    name: Literal["pandas", "spark"] = "pandas"
    master: Annotated[str, Meta(pattern=MASTER)] = ""
    memory_limit_gb: Annotated[float, Meta(gt=0)] | None = None
    dataset_format: Literal["parquet", "csv"] = "parquet"
    dataset_address: Annotated[str, Meta(pattern=ADDRESS)] = ""


class RunSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time limits of a run: without any progress, and of the whole run, None for any."""

    timeout_minutes: Annotated[float, Meta(gt=0, le=1440)] = 8.0
    limit_minutes: Annotated[float, Meta(gt=0)] | None = None


Days = Annotated[int, Meta(ge=0, le=3660)]


class CostSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Costs of a contact and of an offer, and beliefs about clients who accept the offer.

    `save_rate` are the parameters of the Beta distribution of the share of leavers who can be kept.
    The default is that of Verbraken, Verbeke and Baesens (2013), section 5.
    """

    contact: Amount
    offer: Amount
    save_rate: tuple[Positive, Positive] = (6.0, 14.0)
    takers_fraction: Fraction = 1.0


class WorklistSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calls the team can make, worth of clients, rest after a contact, and held-out clients.

    A contacted client rests `snooze_days`, and `retry_days` if not reached, unless the risk rises
    by `return_rise`.
    """

    capacity: Annotated[int, Meta(ge=1)] | None = None
    max_blank_fraction: Fraction = 0.5
    value: str | Annotated[float, Meta(gt=0, le=1e12)] | None = None
    costs: CostSettings | None = None
    columns: tuple[str, ...] = ()
    snooze_days: Days = 14
    retry_days: Days = 1
    return_rise: Annotated[float, Meta(gt=0, le=1)] = 0.1
    holdout_fraction: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    holdout_days: Annotated[int, Meta(ge=7, le=3660)] = 90
    webhook_url: Annotated[str, Meta(pattern=WEB_ADDRESS)] = ""
    webhook_secret_file: Path | None = None


class RetentionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers of kept runs, releases, scorings, history rows and logged predictions.

    `inputs` is whether the input files of kept runs are kept. `outcome_days` is the age of the
    oldest outcomes in days, None for all outcomes.
    """

    runs: Annotated[int, Meta(ge=2)] = 30
    releases: Annotated[int, Meta(ge=2)] = 10
    scorings: Annotated[int, Meta(ge=2)] = 12
    history: Annotated[int, Meta(ge=2)] = 10_000
    predictions: Annotated[int, Meta(ge=1)] = 100_000
    inputs: bool = False
    outcome_days: Annotated[int, Meta(ge=90)] | None = None


class SmtpSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mail server of the weekly list, sender and receivers, and the time of the week in UTC."""

    host: Annotated[str, Meta(pattern=MAIL_HOST)]
    sender: Annotated[str, Meta(pattern=MAIL_ADDRESS)] = field(name="from")
    receivers: Annotated[
        tuple[Annotated[str, Meta(pattern=MAIL_ADDRESS)], ...], Meta(min_length=1, max_length=50)
    ] = field(name="to")
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    weekday: Literal[
        "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
    ] = "monday"
    hour: Annotated[int, Meta(ge=0, le=23)] = 7


class AlertSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Receivers of alerts about runs, data and model, and of the weekly list by mail."""

    webhook_url: Annotated[str, Meta(pattern=WEB_ADDRESS)] = ""
    ping_url: Annotated[str, Meta(pattern=WEB_ADDRESS)] = ""
    dashboard_url: Annotated[str, Meta(pattern=WEB_ADDRESS)] = ""
    smtp: SmtpSettings | None = None


class CheckLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limit of a check, and whether a finding holds the candidate."""

    limit: Annotated[float, Meta(ge=0)]
    refuse: bool = False


Limit = Annotated[float, Meta(ge=0)] | Literal["off", "refuse"] | CheckLimit


class CheckSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the checks of data, candidate and today's list, by name."""

    leak: Limit = 0.97
    perfect_f1: Limit = 0.97
    useless_model: Limit = 1
    shared_clients: Limit = 0.1
    rejected_rows: Limit = 0.1
    refused_files: Limit = 1
    missing_files: Limit = 1
    repeated_rows: Limit = 0.1
    future_rows: Limit = 31
    one_label: Limit = 1
    shrunk_list: Limit = 0.5
    changed_list: Limit = 0.5
    returned_clients: Limit = 0.1
    respelt_keys: Limit = 0.01
    new_columns: Limit = 1
    one_band: Limit = 2
    nobody_predicted: Limit = 1
    changed_values: Limit = 0.2
    outcome_shares: Limit = 0.001
    old_test_data: Limit = 2


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of an installation, with absolute paths."""

    input_folder_path: Path
    output_folder_path: Path
    output_model_path: Path
    prod_deployment_path: Path
    test_data_path: Path = LATEST_ROWS
    schema: Schema = Schema()
    outcomes: OutcomeSettings | None = None
    ingestion: IngestionSettings = IngestionSettings()
    training: TrainingSettings = TrainingSettings()
    promotion: PromotionSettings = PromotionSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    database_url: str = "sqlite:///adras.db"
    api: ApiSettings = ApiSettings()
    engine: EngineSettings = EngineSettings()
    run: RunSettings = RunSettings()
    retention: RetentionSettings = RetentionSettings()
    worklist: WorklistSettings = WorklistSettings()
    alerts: AlertSettings = AlertSettings()
    checks: CheckSettings = CheckSettings()

    @property
    def tests_latest_rows(self) -> bool:
        """True if the latest rows of the input are the test data, not a folder."""
        return self.test_data_path == LATEST_ROWS

    @property
    def other_folders(self) -> list[Path]:
        """Return the folders of the installation beside the input, which may lie in it."""
        outcomes = self.outcomes.input_folder_path if self.outcomes else None
        results = [self.output_folder_path, self.output_model_path, self.prod_deployment_path]
        return [*results, self.test_data_path, *([outcomes] if outcomes else [])]

    @property
    def api_url(self) -> str:
        """URL of the service for programs on the same machine."""
        host = "127.0.0.1" if self.api.host in ("0.0.0.0", "::") else self.api.host  # noqa: S104 - compared, not bound
        return (
            f"http://[{host}]:{self.api.port}" if ":" in host else f"http://{host}:{self.api.port}"
        )


def webhook_url(config: Config) -> str:
    """Return the URL for alerts, from the environment or else the config, or ""."""
    return os.environ.get("ADRAS_WEBHOOK_URL") or config.alerts.webhook_url


def ping_url(config: Config) -> str:
    """Return the URL of the run monitor, from the environment or else the config, or ""."""
    return os.environ.get("ADRAS_PING_URL") or config.alerts.ping_url


def list_webhook_url(config: Config) -> str:
    """Return the URL for events of the list, from the environment or else the config, or ""."""
    return os.environ.get("ADRAS_WORKLIST_WEBHOOK_URL") or config.worklist.webhook_url
