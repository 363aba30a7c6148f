"""The model card: the records about the model in production, for the person accountable."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from scripts.core.column_words import ColumnWords, words_of
from scripts.core.config import Config
from scripts.model.logistic_model import Model
from scripts.production.release import Release

Row = Mapping[str, Any]

TITLE = "Model card"
UNKNOWN = "unknown"
NO_GROUPS = "not measured: name columns in evaluation.groups of config.json"
MAX_FILES = 20
ENDS = ("first", "last")


class CardTable(Struct, frozen=True):
    """A table of a section: headings and rows of texts."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class CardSection(Struct, frozen=True):
    """A section of the card: named facts, and perhaps a table."""

    title: str
    facts: tuple[tuple[str, str], ...]
    table: CardTable | None = None


class RealisedShares(Struct, frozen=True):
    """The outcomes of clients beside their predictions: mean probability and share of leavers."""

    n_outcomes: int
    predicted: float
    realised: float


class CardRecords(Struct, frozen=True, kw_only=True):
    """The records about a release, None and empty for missing records."""

    model: Row | None = None
    decision: Row | None = None
    deployment: Row | None = None
    approval: Row | None = None
    score: Row | None = None
    run: Row | None = None
    files: Sequence[Row] = ()
    groups: Sequence[Row] = ()
    columns: Sequence[Row] = ()
    scoring: Row | None = None
    realised: RealisedShares | None = None


def known(value: Any, pattern: str = "") -> str:
    """Format a value, `unknown` for None."""
    return UNKNOWN if value is None else format(value, pattern)


def within(row: Row | None, name: str, pattern: str = ".3f") -> str:
    """Format a value with the 95 % interval."""
    if row is None or row[name] is None:
        return UNKNOWN
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    interval = UNKNOWN if low is None or high is None else f"{low:{pattern}} to {high:{pattern}}"
    return f"{row[name]:{pattern}} (95 % interval {interval})"


def at_minute(row: Row | None, name: str) -> str:
    """Format a time of a row in UTC."""
    return UNKNOWN if row is None or row[name] is None else f"{row[name]:%Y-%m-%d %H:%M} UTC"


def describe_kind(model: Model) -> str:
    """Describe the formula of a model."""
    kind = "straight lines" if model.is_straight else "curves"
    pairs = f", {len(model.pairs)} pairs of columns that act together" if model.pairs else ""
    return (
        f"logistic regression, additive on the scale of log-odds: {kind} for"
        f" {len(model.numeric)} numbers, a value for each category of"
        f" {len(model.categorical)} texts{pairs}"
    )


def describe_purpose(config: Config, model: Model) -> CardSection:
    """Describe the purpose of the model and its limits of use."""
    outcomes = config.outcomes
    leaving = "leave" if outcomes is None else f"leave within {outcomes.horizon_days} days"
    return CardSection(
        "Purpose",
        (
            ("Answers", f"the probability that a client will {leaving}"),
            (
                "Meant for",
                "client managers who choose whom to call, and programs that rank clients",
            ),
            (
                "Not meant for",
                "prices, contracts or credit, or for any decision that no person looks at",
            ),
            ("Label", f"{known(model.schema.target)}"),
        ),
    )


def describe_release(release: Release, found: CardRecords, words: ColumnWords) -> CardSection:
    """Describe the model, and the way into production."""
    model, deployed, decision = release.model, found.deployment, found.decision
    approved = found.approval
    return CardSection(
        "Model",
        (
            ("Release", release.name),
            ("Model", release.manifest.model_stamp),
            ("Kind", describe_kind(model)),
            ("Columns", ", ".join(map(words.name, model.schema.features))),
            ("Predicted to leave from", f"a probability of {model.threshold:.3f}"),
            ("Serves since", at_minute(deployed, "at")),
            ("Deployed by", UNKNOWN if deployed is None else str(deployed["actor"])),
            (
                "Approved by",
                "nobody: candidates are deployed automatically"
                if approved is None
                else f"{approved['actor']}: {approved['reason'] or 'no reason given'}",
            ),
            (
                "Decision",
                UNKNOWN if decision is None else f"{decision['answer']}: {decision['reason']}",
            ),
        ),
    )


def format_period(periods: Row | None, part: str) -> str:
    """Format the first and the last day of the rows of training or test."""
    first, last = (None if periods is None else periods[f"{end}_{part}_day"] for end in ENDS)
    if first is None or last is None:
        return UNKNOWN
    return f"as of {first}" if first == last else f"as of {first} to {last}"


def describe_periods(config: Config, found: CardRecords) -> list[tuple[str, str]]:
    """Describe the days of the rows of training and test, and of today's clients."""
    names = ("training rows", "test rows", "today's clients")
    if not config.schema.date:
        return [(f"Period: {name}", f"{UNKNOWN}: the rows have no date") for name in names]
    periods = None if found.model is None else found.model["periods"]
    outcomes = config.outcomes
    horizon = "" if outcomes is None else f", outcomes within {outcomes.horizon_days} days"
    days = [format_period(periods, part) for part in ("training", "test")]
    newest = None if found.scoring is None else found.scoring["as_of"]
    periods = [f"{day}{horizon if day != UNKNOWN else ''}" for day in days]
    periods.append(UNKNOWN if newest is None else f"as of {newest}")
    return [(f"Period: {name}", text) for name, text in zip(names, periods, strict=True)]


def describe_data(config: Config, release: Release, found: CardRecords) -> CardSection:
    """Describe the training data: rows, leavers, periods and files."""
    facts = release.model.dataset
    fitted = facts.n_rows if facts.n_drawn_rows is None else facts.n_drawn_rows
    share = facts.n_positives / facts.n_rows if facts.n_rows else 0.0
    inputs = [row for row in found.files if row["role"] != "test"]
    shown = tuple(
        (str(row["path"]), known(row["role"]), known(row["n_rows"], ","), known(row["n_rejected"]))
        for row in found.files[:MAX_FILES]
    )
    more = len(found.files) - len(shown)
    return CardSection(
        "Data",
        (
            ("Rows", f"{facts.n_rows:,}, of which {fitted:,} were fitted"),
            ("Left", f"{facts.n_positives:,} ({share:.1%})"),
            ("Dataset", f"SHA-256 {facts.sha256}"),
            ("Read on", at_minute(found.run, "started_at")),
            ("Files", f"{len(inputs)}{f', {more} more than below' if more > 0 else ''}"),
            *describe_periods(config, found),
        ),
        CardTable(("file", "read as", "rows", "rejected"), shown) if shown else None,
    )


def describe_reuse(n_judged: int | None) -> str:
    """Describe the number of candidates judged on the test rows."""
    if n_judged == 1:
        return "these test rows have judged this candidate alone"
    return (
        f"these test rows have judged {known(n_judged)} candidates, this one included; the"
        " intervals are corrected for it"
    )


def describe_quality(found: CardRecords) -> CardSection:
    """Describe F1 and further metrics on the test rows."""
    model, score = found.model, found.score
    if model is None:
        return CardSection("Quality on the test rows", (("Metrics", UNKNOWN),))
    return CardSection(
        "Quality on the test rows",
        (
            ("F1 at training", within(model, "f1")),
            ("F1 today", within(score, "f1")),
            ("Precision", known(model["precision"], ".3f")),
            ("Recall", known(model["recall"], ".3f")),
            ("AUC", known(model["roc_auc"], ".3f")),
            (
                "Test rows",
                f"{known(model['n_test_rows'], ',')}, of which"
                f" {known(model['n_test_positives'], ',')} left",
            ),
            ("Fresh evidence", describe_reuse(model["n_judged"])),
        ),
    )


def describe_calibration(model: Model, found: CardRecords) -> CardSection:
    """Describe how far probabilities and shares of leavers are apart."""
    validation = model.validation
    error, n_rows = validation.get("expected_calibration_error"), validation.get("n_rows")
    realised = found.realised
    return CardSection(
        "Calibration",
        (
            (
                "Expected calibration error",
                f"{known(error, '.3f')} on {known(n_rows, ',')} rows held out at training",
            ),
            (
                "Outcomes",
                f"{UNKNOWN}: no outcome of a scored client is known yet"
                if realised is None
                else f"of {realised.n_outcomes:,} scored clients {realised.predicted:.1%} were"
                f" predicted to leave and {realised.realised:.1%} left",
            ),
        ),
    )


def describe_groups(found: CardRecords, words: ColumnWords) -> CardSection:
    """Describe the metrics by group of clients."""
    if not found.groups:
        return CardSection("Groups of clients", (("Groups", NO_GROUPS),))
    names = ("f1", "precision", "recall", "listed", "gap")
    rows = tuple(
        (
            words.name(row["column"]), str(row["group"]), f"{row['n_rows']:,}",
            *(within(row, name, ".2f").replace("95 % interval ", "") for name in names),
        )
        for row in found.groups
    )  # fmt: skip
    headings = ("column", "group", "rows", "F1", "precision", "recall", "listed", "risk overstated")
    return CardSection("Groups of clients", (), CardTable(headings, rows))


def describe_drift(found: CardRecords, words: ColumnWords) -> CardSection:
    """Describe the columns with drift between training and new rows."""
    compared = [row for row in found.columns if row["drift"] is not None]
    if not compared:
        return CardSection("Drift", (("Columns", f"{UNKNOWN}: no new rows were compared yet"),))
    rows = tuple(
        (
            words.name(row["column"]), known(row["drift"], ".3f"), known(row["drift_limit"], ".3f"),
            "yes" if row["drift_limit"] is not None and row["drift"] > row["drift_limit"] else "no",
        )
        for row in compared
    )  # fmt: skip
    return CardSection("Drift", (), CardTable(("column", "drift", "limit", "drifted"), rows))


def list_limits(release: Release, found: CardRecords) -> CardSection:
    """List the limits of the model's knowledge."""
    n_left = release.model.dataset.n_positives
    limits = [
        ("Causes", "the model finds who leaves, not why; it does not know whether a call helps"),
        (
            "Outside of the training rows",
            "a number beyond those of the training counts as the nearest of them",
        ),
        ("Unknown categories", "add nothing, and are listed in each answer"),
    ]
    if n_left < 200:
        limits.append(
            ("Few leavers", f"{n_left:,} clients who left teach little; see the interval")
        )
    if found.model is not None and (found.model["n_test_positives"] or 0) < 50:
        limits.append(("Few test rows", "the quality is known roughly only; see the interval"))
    return CardSection("Limits", tuple(limits))


def describe_versions(model: Model) -> CardSection:
    """Describe the versions of the packages behind the model."""
    return CardSection("Versions", tuple(model.versions.items()))


def make_card(config: Config, release: Release, found: CardRecords) -> list[CardSection]:
    """Describe the model in production, from the release and the records only.

    Parameters
    ----------
    config : Config
        The installation.
    release : Release
        The release in production.
    found : CardRecords
        What the records have of it.

    Returns
    -------
    list of CardSection
        What nobody recorded is `unknown`.

    Notes
    -----
    Mitchell et al., "Model Cards for Model Reporting" (2019): details, intended use, data, metrics,
    groups, caveats.
    """
    words = words_of(config.schema)
    return [
        describe_purpose(config, release.model),
        describe_release(release, found, words),
        describe_data(config, release, found),
        describe_quality(found),
        describe_calibration(release.model, found),
        describe_groups(found, words),
        describe_drift(found, words),
        list_limits(release, found),
        describe_versions(release.model),
    ]


def escape(text: str) -> str:
    """Return a text as a line of Markdown, with every special character escaped."""
    line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|!~" else letter for letter in line)


def format_row(cells: Iterable[str]) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(map(escape, cells))} |"


def as_markdown(sections: Sequence[CardSection]) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    sections : sequence of CardSection
        The sections in order.

    Returns
    -------
    str
        Names of files, columns and groups are escaped.
    """
    lines = [f"# {TITLE}"]
    for section in sections:
        lines += ["", f"## {section.title}", ""]
        lines += [f"- **{escape(name)}**: {escape(text)}" for name, text in section.facts]
        if section.table is not None:
            lines += [""] if section.facts else []
            lines.append(format_row(section.table.headings))
            lines.append(f"|{' --- |' * len(section.table.headings)}")
            lines += map(format_row, section.table.rows)
    return "\n".join(lines) + "\n"
