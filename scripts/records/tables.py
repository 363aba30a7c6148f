"""Defines the tables of the records."""

from datetime import UTC, datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

# Revision of these tables in records/migrations.
VERSION = "0026"

# The outcomes of the first clients of a list have an index.
N_FIRST = 10_000
AMONG_FIRST = f"position <= {N_FIRST}"


class Status(StrEnum):
    """Status of a run."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    TIMEOUT = "timeout"
    ABORTED = "aborted"
    SKIPPED = "skipped"


class Verdict(StrEnum):
    """Verdict of a finished run."""

    DEPLOYED = "deployed"
    HELD = "held"
    INSUFFICIENT = "insufficient data"
    NOTHING_NEW = "nothing new"
    POSTPONED = "postponed"
    WAITING = "waiting for approval"


class FileRole(StrEnum):
    """Purpose of a file in a run."""

    INPUT = "input"
    TEST = "test"
    OUTCOME = "outcome"


class DeploymentKind(StrEnum):
    """Kind of a change of the serving release."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"


class ApprovalState(StrEnum):
    """State of a candidate in an installation with approval by a person."""

    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    REPLACED = "replaced"


class ShadowKind(StrEnum):
    """Kind of a client moved by a candidate."""

    ENTER = "enter"
    LEAVE = "leave"
    MOVE = "move"


class WorkKind(StrEnum):
    """Kind of an entry about the work with a client."""

    CONTACT = "contact"
    ASSIGNMENT = "assignment"
    SNOOZE = "snooze"


class ErasureState(StrEnum):
    """State of the erasure of a client."""

    BEGUN = "begun"
    ERASED = "erased"
    READMITTED = "readmitted"


class RowsOf(StrEnum):
    """Rows behind column statistics."""

    DATASET = "dataset"
    LIVE = "live"


class BlockKind(StrEnum):
    """Content of a block of scored clients."""

    # The clients of the scoring: probability, place, band, the score before, where values are.
    SCORES = "scores"
    # The places on the list, known only once all clients are scored.
    PLACES = "places"
    # Values of clients that changed since the scoring before.
    VALUES = "values"
    # Names and texts for people that changed since the scoring before.
    TEXTS = "texts"
    # The hashes of the labelled rows known of each client, of the newest scoring only.
    LABELS = "labels"
    # Clients scored earlier and not now, of the newest scoring only.
    ABSENT = "absent"
    ABSENT_LABELS = "absent labels"
    # The clients in an order of the worklist, of the newest scorings only.
    RISK = "risk"
    CLIENT = "client"
    RISE = "rise"
    GAIN = "gain"
    # The numbers of the clients that are held out, of the newest scorings only.
    HELD_OUT = "held out"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite loses the zone, so reading adds the zone again."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return a moment for storage, in UTC without a zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return a stored moment with the zone."""
        return None if value is None else value.replace(tzinfo=UTC)


metadata = sa.MetaData()


def of_run(*, nullable: bool = False) -> sa.Column[int]:
    """Return the column with the run of a row."""
    return sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), nullable=nullable, index=True)


runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("trigger", sa.String(16)),
    sa.Column("actor", sa.Text),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("verdict", sa.String(32)),
    sa.Column("reason", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("fingerprint", sa.String(64)),
    sa.Column("stamp", sa.String(32)),
    sa.Column("candidate_f1", sa.Float),
    sa.Column("production_f1", sa.Float),
    sa.Column("release", sa.String(64)),
    sa.Column("durations_s", sa.JSON),
    sa.Column("versions", sa.JSON),
)

# A file with unread content, as after an earlier failure of the run, has no counts.
files = sa.Table(
    "files",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    of_run(),
    sa.Column("role", sa.String(8)),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("n_bytes", sa.BigInteger, nullable=False),
    sa.Column("n_rows", sa.BigInteger),
    sa.Column("n_rejected", sa.BigInteger),
    sa.Column("refused", sa.Text),
)

# Digests of earlier runs, so that an unchanged file is not read again.
digests = sa.Table(
    "digests",
    metadata,
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("n_bytes", sa.BigInteger, nullable=False),
    sa.Column("changed_ns", sa.BigInteger, nullable=False),
    sa.Column("inode", sa.String(24), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    of_run(),
    sa.Column("stamp", sa.String(32), nullable=False, index=True),
    sa.Column("dataset_sha256", sa.String(64)),
    sa.Column("n_rows", sa.BigInteger),
    sa.Column("n_positives", sa.BigInteger),
    sa.Column("settings", sa.JSON),
    sa.Column("threshold", sa.Float),
    sa.Column("f1", sa.Float),
    sa.Column("f1_low", sa.Float),
    sa.Column("f1_high", sa.Float),
    sa.Column("precision", sa.Float),
    sa.Column("recall", sa.Float),
    sa.Column("roc_auc", sa.Float),
    sa.Column("n_test_rows", sa.BigInteger),
    sa.Column("n_test_positives", sa.BigInteger),
    sa.Column("n_judged", sa.Integer),
    # The hash of model.json and the settings, by which the model can be made again.
    sa.Column("origin", sa.JSON),
    # The first and last days of the dated rows of training and test.
    sa.Column("periods", sa.JSON),
)

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    of_run(),
    sa.Column("decided_at", UtcDateTime, nullable=False),
    sa.Column("answer", sa.String(32), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("candidate_stamp", sa.String(32)),
    sa.Column("production_release", sa.String(64)),
    sa.Column("candidate_f1", sa.Float),
    sa.Column("production_f1", sa.Float),
    sa.Column("difference", sa.Float),
    sa.Column("difference_low", sa.Float),
    sa.Column("difference_high", sa.Float),
    sa.Column("probability_better", sa.Float),
    sa.Column("n_test_rows", sa.BigInteger),
    sa.Column("n_test_positives", sa.BigInteger),
    sa.Column("loss_difference", sa.Float),
    sa.Column("loss_standard_error", sa.Float),
    # The metric of the promotion where it is not F1; the difference is then of its values.
    sa.Column("metric", sa.String(32)),
    sa.Column("candidate_value", sa.Float),
    sa.Column("production_value", sa.Float),
    sa.Column("n_judged", sa.Integer),
    # The candidate beside production on today's clients and logged requests, without names.
    sa.Column("shadow", sa.JSON),
)

# The clients that a candidate moves: on the list, off the list, and the largest moves.
shadow_clients = sa.Table(
    "shadow_clients",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    of_run(),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("client", sa.Text, nullable=False, index=True),
    sa.Column("candidate_probability", sa.Float, nullable=False),
    sa.Column("production_probability", sa.Float, nullable=False),
    sa.Column("candidate_position", sa.Integer, nullable=False),
    sa.Column("production_position", sa.Integer, nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
)

# The candidate of a run by groups of clients, on its test data.
group_metrics = sa.Table(
    "group_metrics",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    of_run(),
    sa.Column("column", sa.Text, nullable=False),
    sa.Column("group", sa.Text, nullable=False),
    sa.Column("n_rows", sa.BigInteger, nullable=False),
    sa.Column("n_positives", sa.BigInteger, nullable=False),
    sa.Column("f1", sa.Float),
    sa.Column("f1_low", sa.Float),
    sa.Column("f1_high", sa.Float),
    sa.Column("precision", sa.Float),
    sa.Column("precision_low", sa.Float),
    sa.Column("precision_high", sa.Float),
    sa.Column("recall", sa.Float),
    sa.Column("recall_low", sa.Float),
    sa.Column("recall_high", sa.Float),
    sa.Column("listed", sa.Float),
    sa.Column("listed_low", sa.Float),
    sa.Column("listed_high", sa.Float),
    sa.Column("gap", sa.Float),
    sa.Column("gap_low", sa.Float),
    sa.Column("gap_high", sa.Float),
)

# A manual rollback has no run.
deployments = sa.Table(
    "deployments",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    of_run(nullable=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("release", sa.String(64), nullable=False),
    sa.Column("previous_release", sa.String(64)),
    sa.Column("model_stamp", sa.String(32)),
    sa.Column("f1", sa.Float),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
)

# Changes of state of the candidates that a person approves; no row is ever changed. At most one
# candidate waits: the release of the newest row, if its state is `waiting`.
approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    of_run(nullable=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("release", sa.String(64), nullable=False, index=True),
    sa.Column("model_stamp", sa.String(32)),
    sa.Column("f1", sa.Float),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
)

# Changes of the settings: what changed, and the settings from then on, without secrets.
config_changes = sa.Table(
    "config_changes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # An idle run is deleted one day, but the change that it found stays.
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="SET NULL"), index=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
)

# Erasures of clients, named by a keyed hash alone; no row is ever changed. An erasure without a row
# `erased` behind its last `begun` was killed. `facts` are counts of what was removed.
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("client_hash", sa.String(32), nullable=False, index=True),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("facts", sa.JSON),
)

# Wrong tokens and too small roles at the service: a row per minute, address, way and actor. The row
# of an hour without an address counts those beyond the limit of rows.
failed_logins = sa.Table(
    "failed_logins",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("minute", UtcDateTime, nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("way", sa.String(16), nullable=False),
    sa.Column("actor", sa.String(64), nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("last_at", UtcDateTime, nullable=False),
    sa.Column("n_failed", sa.Integer, nullable=False),
    sa.Column("n_locked_out", sa.Integer, nullable=False),
    sa.UniqueConstraint("minute", "address", "way", "actor"),
)

column_statistics = sa.Table(
    "column_statistics",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    of_run(),
    sa.Column("role", sa.String(8), nullable=False, server_default=RowsOf.DATASET),
    sa.Column("dataset_stamp", sa.String(32), nullable=False),
    sa.Column("column", sa.Text, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("n_rows", sa.BigInteger, nullable=False),
    sa.Column("missing_fraction", sa.Float),
    sa.Column("mean", sa.Float),
    sa.Column("median", sa.Float),
    sa.Column("standard_deviation", sa.Float),
    sa.Column("drift", sa.Float),
    sa.Column("drift_limit", sa.Float),
    sa.Column("effect", sa.Float),
    sa.Column("n_compared", sa.BigInteger),
    sa.Column("missing_drift", sa.Float),
    sa.Column("missing_drift_limit", sa.Float),
    sa.Column("shift", sa.Float),
    sa.Column("risk_shift", sa.Float),
    sa.UniqueConstraint("run_id", "role", "column", name="one_row_per_run_and_column"),
)

production_scores = sa.Table(
    "production_scores",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    of_run(),
    sa.Column("release", sa.String(64), nullable=False),
    sa.Column("f1", sa.Float),
    sa.Column("f1_low", sa.Float),
    sa.Column("f1_high", sa.Float),
    sa.Column("n_rows", sa.BigInteger, nullable=False),
)

# Watched states; only a change of a state causes an alert. `detail` is the newest finding.
states = sa.Table(
    "states",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(64), nullable=False),
    sa.Column("since", UtcDateTime, nullable=False),
    of_run(nullable=True),
    sa.Column("detail", sa.Text),
)

# Changes of watched states; an alert without a time of sending is due.
alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # An idle run is deleted one day, but the alert about the end of a failure stays.
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="SET NULL"), index=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("state", sa.String(64), nullable=False),
    sa.Column("previous_state", sa.String(64)),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("sent_at", UtcDateTime),
)


# The scoring of today's clients at the end of a run. `columns` are the input columns, by which the
# known labels were told apart. `gains` are the labels of the test rows, a bit each, the riskiest
# row first. A scoring counts only once it is whole: a killed run leaves one that is not. Clients
# are put into buckets by the first `bits` bits of the hash of their name. `bands` are the words of
# the bands and their numbers of clients, in the order of the list. `values_from` is the oldest
# scoring with values that still hold, `absent_in` are the scorings that scored the absent clients
# last. `as_of` is the newest date of the rows, if any. `gain_facts` are the costs and the belief
# behind the expected gains, and the best length of the list, where a value is declared.
# `holdout_facts` are the period of the held-out clients and their share, where there are any.
scorings = sa.Table(
    "scorings",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    of_run(),
    sa.Column("scored_at", UtcDateTime, nullable=False),
    sa.Column("release", sa.String(64), nullable=False),
    sa.Column("model_stamp", sa.String(32), nullable=False),
    sa.Column("columns", sa.Text, nullable=False),
    sa.Column("n_clients", sa.Integer, nullable=False),
    sa.Column("n_without_data", sa.Integer, nullable=False),
    sa.Column("n_test_rows", sa.Integer, nullable=False),
    sa.Column("gains", sa.LargeBinary, nullable=False),
    sa.Column("is_whole", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("bits", sa.Integer, nullable=False, server_default="0"),
    sa.Column("bands", sa.JSON),
    sa.Column("values_from", sa.Integer),
    sa.Column("absent_in", sa.JSON),
    sa.Column("as_of", sa.String(10)),
    sa.Column("gain_facts", sa.JSON),
    sa.Column("holdout_facts", sa.JSON),
    sa.Column("joined", sa.LargeBinary),
)

# The model of each scoring as JSON, since old releases are removed.
scoring_models = sa.Table(
    "scoring_models",
    metadata,
    sa.Column("stamp", sa.String(32), primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
)

# Scored clients, packed by column (`records.column_blocks`), some thousand to a block. A row per
# client would take five times the space on PostgreSQL. The kinds are those of BlockKind. `names`
# lies apart, so that a search reads nothing else.
client_blocks = sa.Table(
    "client_blocks",
    metadata,
    sa.Column("scoring_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("n_clients", sa.Integer, nullable=False),
    sa.Column("names", sa.LargeBinary),
    sa.Column("content", sa.LargeBinary, nullable=False),
)

# Outcomes of clients in groups, since a million of them come at once and have much in common: the
# scoring of the score that they are joined to, the day `as_of` of the row, the band, the moment of
# the first `high`, and whether the clients left. `warned_s` are the seconds from the first `high`
# to an exit. The outcomes count once the scoring in `recorded_by` is whole. `previously` is the
# outcome before a correction. A group has at most `outcome_writer.GROUP_SIZE` outcomes. `counts`
# are the counts by tenth of the probability, as JSON (`outcome_records.Tenth`). They are missing
# after a killed run or an erasure, and the outcomes themselves are counted then.
outcome_groups = sa.Table(
    "outcome_groups",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    of_run(),
    sa.Column("scoring_id", sa.Integer),
    sa.Column("as_of", sa.String(10), index=True),
    sa.Column("known_at", UtcDateTime, nullable=False),
    sa.Column("exited", sa.Boolean, nullable=False),
    sa.Column("scored_at", UtcDateTime, nullable=False),
    sa.Column("release", sa.String(64), nullable=False),
    sa.Column("band", sa.String(8), nullable=False),
    sa.Column("first_high_at", UtcDateTime),
    sa.Column("warned_s", sa.Float),
    sa.Column("recorded_by", sa.Integer, index=True),
    sa.Column("previously", sa.Boolean),
    sa.Column("counts", sa.LargeBinary),
)

# The clients of the groups of outcomes. A company with a million clients has twelve million rows a
# year, so there is no key of their own: the client and the group name an outcome.
client_outcomes = sa.Table(
    "client_outcomes",
    metadata,
    sa.Column("probability", sa.Float, nullable=False),
    sa.Column("group_id", sa.Integer, nullable=False, index=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("client", sa.Text, nullable=False, index=True),
    # Of a million clients few are among those to call, and they are counted for pages.
    sa.Index(
        "ix_client_outcomes_first",
        "position",
        sqlite_where=sa.text(AMONG_FIRST),
        postgresql_where=sa.text(AMONG_FIRST),
    ),
)

# The counts over all outcomes as JSON, for pages of a company with many: by the length of the list
# they are made for, with the state of the outcomes that they are true for.
outcome_counts = sa.Table(
    "outcome_counts",
    metadata,
    sa.Column("n_listed", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)

# The work with clients, as a history to which entries are only added. The latest entry of a kind is
# the state of a client; of contacts the latest day counts. `actor` made the entry. `probability` is
# the client's risk at that time, from which a rise is measured. An empty `assigned_to` is nobody,
# and an empty `snoozed_until` ends a snooze.
client_work = sa.Table(
    "client_work",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("client", sa.Text, nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("result", sa.String(16)),
    sa.Column("note", sa.Text),
    sa.Column("contacted_on", sa.String(10)),
    sa.Column("contacted_by", sa.Text),
    sa.Column("assigned_to", sa.Text),
    sa.Column("snoozed_until", sa.String(10)),
    sa.Column("probability", sa.Float),
    # The snoozes that may still hold are read for every page of the list.
    sa.Index("ix_client_work_snoozed", "kind", "snoozed_until"),
)

# Clients who stood among those to call in a period, and whether chance held them out. Each is here
# once for a period, from the first scoring that listed the client. `period` is the first day of the
# period, `until` the last one, `ends_at` the moment after it. `position` is the place by risk.
trial_clients = sa.Table(
    "trial_clients",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    of_run(),
    sa.Column("scoring_id", sa.Integer, nullable=False),
    sa.Column("period", sa.String(10), nullable=False),
    sa.Column("until", sa.String(10), nullable=False),
    sa.Column("client", sa.Text, nullable=False, index=True),
    sa.Column("is_held_out", sa.Boolean, nullable=False),
    sa.Column("enrolled_at", UtcDateTime, nullable=False),
    sa.Column("enrolled_on", sa.String(10), nullable=False),
    sa.Column("ends_at", UtcDateTime, nullable=False),
    sa.Column("probability", sa.Float, nullable=False),
    sa.Column("band", sa.String(8), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.UniqueConstraint("period", "client", name="one_row_per_period_and_client"),
)

# The weekly mails with the list, one row per week. `week` is the day on which the mail is due, and
# `at` the moment of the first attempt. `members` are the clients of the list that was sent, for the
# changes of the next week.
list_mails = sa.Table(
    "list_mails",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="SET NULL"), index=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("week", sa.String(10), nullable=False, unique=True),
    sa.Column("message_id", sa.String(160), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("n_attempts", sa.Integer, nullable=False),
    sa.Column("n_clients", sa.Integer, nullable=False),
    sa.Column("members", sa.JSON),
    sa.Column("sent_at", UtcDateTime),
    sa.Column("fault", sa.Text),
)

# Clients who entered or left the list, in the order in which the receiver gets them. `body` is the
# message, which stays the same in each attempt.
list_events = sa.Table(
    "list_events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="SET NULL"), index=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("event_id", sa.String(64), nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("client", sa.Text, nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("n_attempts", sa.Integer, nullable=False),
    sa.Column("n_refused", sa.Integer, nullable=False),
    sa.Column("sent_at", UtcDateTime, index=True),
    sa.Column("given_up_at", UtcDateTime),
    sa.Column("fault", sa.Text),
)

# The list as the receiver of the events knows it, once all events are sent: one row. It is of a
# scoring, of the work up to an entry, and of a day.
list_snapshots = sa.Table(
    "list_snapshots",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("scoring_id", sa.Integer, nullable=False),
    sa.Column("last_entry", sa.Integer, nullable=False),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("members", sa.JSON, nullable=False),
)

# Rows of requests to /predict, for the drift of live traffic. `values` is a JSON array in the
# order of the model's features; `client` is a keyed hash of the identifiers, where all were sent.
predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("release", sa.String(64), nullable=False),
    sa.Column("client", sa.String(16)),
    sa.Column("values", sa.Text, nullable=False),
    sa.Column("probability", sa.Float, nullable=False),
    sa.Column("predicted", sa.Boolean, nullable=False),
    sa.Index("ix_predictions_release", "release", "id"),
)
