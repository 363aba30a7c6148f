"""Checks of the data, the candidate and today's list, each with a number and a remedy."""

import math
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

import pandas as pd
from msgspec import Struct
from sklearn.metrics import roc_auc_score

from scripts.core import sentences
from scripts.core.config import CheckLimit, CheckSettings
from scripts.data import read_report
from scripts.data.arrays import Ints
from scripts.data.read_report import FileReading, first_reasons
from scripts.model import logistic_model
from scripts.model.logistic_model import Columns, Model
from scripts.model.metrics import Evaluation
from scripts.model.ranking import NO_DATA

# Of fewer rows of a class a column may separate both by chance.
MIN_CLASS_ROWS = 20
# Fewer rows of a file, clients of a list, or outcomes say too little.
MAX_NAMES = 5
MIN_FILE_ROWS, MIN_LIST, MIN_OUTCOMES = 20, 20, 50
# A chance below is shown as this one.
RAREST = 1e-9
MIN_KNOWN_FRACTION = 0.8
# A fair model misses all of so many leavers, or predicts none where so many are expected, in less
# than one run in 100.
MIN_MISSED, MIN_EXPECTED = 10, 5
# A client with a label in the newest row has an outcome, and is nobody to predict.
EMPTY_LIST = (
    "Clients whose newest row has a label are not on the list. Leave the label blank while the"
    " outcome is not known, or, where it says how a client is on the day of the row, declare its"
    " column as schema.leaving in place of the target."
)
DEFAULTS = CheckSettings()
DIGITS = re.compile(r"\d+")
N_COMPARED_DAYS = 3
FEW_FIELDS = re.compile(r"expected (\d+) fields, found (\d+)")


class Finding(Struct, frozen=True):
    """The result of a check: problem or not, a sentence, and whether the candidate is held."""

    name: str
    is_alarm: bool
    detail: str
    refuses: bool = False


def find_limit(settings: CheckSettings, name: str) -> CheckLimit | None:
    """Return the limit of a check and whether the check refuses, None if switched off."""
    declared = getattr(settings, name)
    if declared == "off":
        return None
    if isinstance(declared, CheckLimit):
        return declared
    if declared == "refuse":
        return CheckLimit(limit=float(getattr(DEFAULTS, name)), refuse=True)
    return CheckLimit(limit=float(declared))


class LimitSide(StrEnum):
    """The wrong side of a limit."""

    ABOVE = "above"
    REACHED = "reached"
    BELOW = "below"


def is_beyond(value: float, limit: float, side: LimitSide) -> bool:
    """Return whether a value is on the wrong side of a limit."""
    if side is LimitSide.BELOW:
        return value < limit
    return value > limit or (side is LimitSide.REACHED and value == limit > 0)


class Sentences(Struct, frozen=True):
    """The sentences of a check: about a problem with the remedy, and about no problem."""

    alarm: str
    fine: str


def make_findings(
    settings: CheckSettings,
    name: str,
    value: float,
    words: Sentences,
    side: LimitSide = LimitSide.ABOVE,
) -> list[Finding]:
    """Return the finding of a value against the limit of a check, [] if switched off."""
    limit = find_limit(settings, name)
    if limit is None:
        return []
    if not is_beyond(value, limit.limit, side):
        return [Finding(name, is_alarm=False, detail=words.fine, refuses=limit.refuse)]
    detail = f"{words.alarm} The limit checks.{name} is {limit.limit:g}."
    return [Finding(name, is_alarm=True, detail=detail, refuses=limit.refuse)]


def measure_alone(model: Model, columns: Columns, y: Ints) -> dict[str, float]:
    """Return the ROC AUC of each column alone, by the column's term in the model, above 0.5.

    Parameters
    ----------
    model : Model
        The model, which was not fitted to the rows.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The features of test rows.
    y : numpy.ndarray of shape (n_rows,)
        0 stayed, 1 left, with both labels.
    """
    areas = {}
    for names, term in logistic_model.terms(model, columns).items():
        # The term of a pair is of two columns.
        if len(names) == 1:
            area = float(roc_auc_score(y, term))
            areas[names[0]] = max(area, 1 - area)
    return areas


def check_leak(model: Model, columns: Columns, y: Ints, settings: CheckSettings) -> list[Finding]:
    """Check whether a single column separates leavers from stayers."""
    if min(int(y.sum()), int(len(y) - y.sum())) < MIN_CLASS_ROWS:
        return []
    areas = measure_alone(model, columns, y)
    name = max(areas, key=areas.__getitem__)
    return make_findings(
        settings,
        "leak",
        areas[name],
        Sentences(
            alarm=f"The column {name!r} alone tells who left, with an AUC of {areas[name]:.3f} on"
            f" {len(y)} test rows. It was probably written after they left: if so, add it to"
            " schema.ignore.",
            fine=f"No column alone tells who left: at most AUC {areas[name]:.3f}, of {name!r}.",
        ),
    )


def check_f1(measured: Evaluation, settings: CheckSettings) -> list[Finding]:
    """Check whether F1 is too good to be true, by the lower end of the interval."""
    n_stayed = measured.n_rows - measured.n_positives
    if measured.f1_low is None or min(measured.n_positives, n_stayed) < MIN_CLASS_ROWS:
        return []
    return make_findings(
        settings,
        "perfect_f1",
        measured.f1_low,
        Sentences(
            alarm=f"F1 is {measured.f1:.3f} on {measured.n_rows} test rows, and at least"
            f" {measured.f1_low:.3f}: too good to be true. Look for columns that are known only"
            " after a client left, and for test rows that are in training, too.",
            fine=f"F1 is {measured.f1:.3f}, which can be true.",
        ),
    )


def check_useless(measured: Evaluation, settings: CheckSettings) -> list[Finding]:
    """Check whether the model finds any leaver of the test rows.

    Few leavers may all be missed by chance, unless nobody at all is predicted to leave.
    """
    n_left, n_found = measured.n_positives, measured.n_true_positives
    n_predicted = n_found + measured.n_false_positives
    if n_left < (MIN_MISSED if n_predicted else MIN_EXPECTED):
        return []
    words = Sentences(
        alarm=f"The newest model finds {n_found} of the {n_left} clients who left on"
        f" {measured.n_rows} test rows, and predicts {n_predicted} to leave: F1 is"
        f" {measured.f1 or 0:.3f}. Bring more labelled rows, or columns that change before a client"
        " leaves, and see whether the labels are right.",
        fine=f"The newest model finds {n_found} of the {n_left} clients who left on the test rows.",
    )
    return make_findings(settings, "useless_model", n_found, words, LimitSide.BELOW)


def check_shared(tested: "pd.Series[str]", n_shared: int, settings: CheckSettings) -> list[Finding]:
    """Check whether clients of the test data are in training, too."""
    n_tested = int(tested.nunique())
    if not n_tested:
        return []
    return make_findings(
        settings,
        "shared_clients",
        n_shared / n_tested,
        Sentences(
            alarm=f"{n_shared} of the {n_tested} clients of the test data are in training, too: F1"
            " is then that of clients who are known already. Take them out of one of both, or"
            " declare schema.date and leave test_data_path out.",
            fine=f"{n_shared} of the {n_tested} clients of the test data are in training, too.",
        ),
    )


def describe_cut(reading: FileReading) -> str:
    """Return a sentence about a file that ends in the middle of a row, "" about another one."""
    last = max(reading.rejected, key=lambda row: row.line, default=None)
    found = last and FEW_FIELDS.match(last.reason)
    if not last or not found or last.line <= reading.n_rows:
        return ""
    n_expected, n_found = map(int, found.groups())
    if not 1 < n_found < n_expected:
        return ""
    return (
        f"The last line of {reading.path.name} has {n_found} of {n_expected} fields, as in a file"
        f" that was cut: clients behind line {last.line} would be missing. Copy the file again, or"
        " take the line out of it."
    )


def check_rejected(readings: Sequence[FileReading], settings: CheckSettings) -> list[Finding]:
    """Check whether a large part of the rows of a file was rejected, or a file was cut."""
    read = [r for r in readings if not r.refused and r.n_rows >= MIN_FILE_ROWS]
    if not read:
        return []
    cut = next(filter(None, map(describe_cut, read)), "")
    if cut:
        # The share of the missing rows is not known.
        words = Sentences(alarm=cut, fine="")
        return make_findings(settings, "rejected_rows", 1.0, words, LimitSide.REACHED)
    worst = max(read, key=lambda r: len(r.rejected) / r.n_rows)
    fraction = len(worst.rejected) / worst.n_rows
    labels = read_report.format_frequent_labels(worst)
    first = f" The first: {first_reasons(worst)[0]}{labels}." if worst.rejected else ""
    return make_findings(
        settings,
        "rejected_rows",
        fraction,
        Sentences(
            alarm=f"{len(worst.rejected)} of {worst.n_rows} rows of {worst.path.name} were"
            f" rejected, {fraction:.1%}.{first} The file of rejected rows has every reason.",
            fine=f"At most {fraction:.1%} of the rows of a file were rejected.",
        ),
        LimitSide.REACHED,
    )


def check_refused(readings: Sequence[FileReading], settings: CheckSettings) -> list[Finding]:
    """Check for files refused as a whole, for example a file without a day."""
    refused = [reading for reading in readings if reading.refused]
    first = f" The first: {refused[0].path.name}: {refused[0].refused}." if refused else ""
    words = Sentences(
        alarm=f"{len(refused)} of {len(readings)} files were refused, and none of their rows is"
        f" used.{first} Correct the file, or move it elsewhere.",
        fine=f"All files were read: {len(readings)}.",
    )
    return make_findings(settings, "refused_files", len(refused), words, LimitSide.REACHED)


def check_missing(days: Sequence[Sequence[str]], settings: CheckSettings) -> list[Finding]:
    """Check for an extract in fewer files than both before, such as without that of a region.

    Parameters
    ----------
    days : sequence of sequence of str
        The names of the files of the last three days, the oldest day first; fewer say nothing.
    settings : CheckSettings
        The limits.
    """
    if len(days) < N_COMPARED_DAYS:
        return []
    *earlier, newest = days
    n_usual = min(len(names) for names in earlier)
    n_missing = max(0, n_usual - len(newest))
    kept = {DIGITS.sub("", name) for name in newest}
    gone = [name for name in earlier[-1] if DIGITS.sub("", name) not in kept]
    after = f" None follows {' and '.join(map(repr, gone))}." if len(gone) == n_missing else ""
    words = Sentences(
        alarm=f"The newest extract has {len(newest)} files with its day in their names, and the"
        f" extracts before had at least {n_usual}.{after} Clients of a missing file are not on the"
        " list: bring it.",
        fine="The newest extract has as many files as those before.",
    )
    return make_findings(settings, "missing_files", n_missing, words, LimitSide.REACHED)


def check_repeated(
    n_repeated: int,
    n_today: int,
    same_day: Sequence[str],
    settings: CheckSettings,
    *,
    are_named: bool = False,
) -> list[Finding]:
    """Check whether many dated rows are repeated for their client and day.

    Parameters
    ----------
    n_repeated : int
        The rows left out.
    n_today : int
        The number of today's clients.
    same_day : sequence of str
        Descriptions of files whose names have the same day.
    settings : CheckSettings
        The limit, a share of today's clients.
    are_named : bool
        Whether the names of the files have the days.
    """
    place = "another row of the same file, or of a later one by name,"
    advice = (
        "If a file corrects another, remove the one that is out of date. If one file has several"
        " rows of a client, look whether its key is right, and export one row for each client."
    )
    if same_day:
        place = "another row, mostly of a later file by name,"
        advice = (
            f"Files of one day: {'; '.join(same_day[:3])}. If one corrects the other, remove the"
            " file that is out of date."
        )
    elif are_named:
        place = "another row of the same file"
        advice = "Look whether the key is right there, and export one row for each client."
    words = Sentences(
        alarm=f"{sentences.count(n_repeated, 'row is', 'rows are')} not used, since {place} has"
        f" the same client and day. {advice}",
        fine=f"{sentences.count(n_repeated, 'row was', 'rows were')} repeated for a client and"
        " day.",
    )
    share = n_repeated / max(n_today, MIN_LIST)
    return make_findings(settings, "repeated_rows", share, words, LimitSide.REACHED)


def check_future(newest: str, n_days: int, settings: CheckSettings) -> list[Finding]:
    """Check whether the newest rows are of a day to come.

    Parameters
    ----------
    newest : str
        The day of the newest rows in ISO 8601.
    n_days : int
        The days from the run to this day, negative for a day that is over.
    settings : CheckSettings
        The limit in days.
    """
    words = Sentences(
        alarm=f"The newest rows are as of {newest}, {n_days} days after today: until then no later"
        " extract makes the list. Correct the day in the name or the column of the file.",
        fine=f"The newest rows are as of {newest}.",
    )
    return make_findings(settings, "future_rows", n_days, words)


def check_labels(n_rows: int, n_positives: int, settings: CheckSettings) -> list[Finding]:
    """Check whether all labels are equal."""
    if n_rows < MIN_FILE_ROWS:
        return []
    rarer = min(n_positives, n_rows - n_positives)
    which = "left" if n_positives else "stayed"
    return make_findings(
        settings,
        "one_label",
        rarer,
        Sentences(
            alarm=f"All of {n_rows} labels say that the client {which}. Compare schema.positive and"
            " schema.negative with the labels in the files.",
            fine=f"{n_positives} of {n_rows} labels say that the client left.",
        ),
        LimitSide.BELOW,
    )


def check_bands(known: Sequence[str], n_today: int, settings: CheckSettings) -> list[Finding]:
    """Check whether today's list has several bands of clients with enough data."""
    words = Sentences(
        alarm=f"All {n_today} clients of today's list are {known[0] if known else NO_DATA}: the"
        " list tells nobody apart. Compare api.medium_risk_from and api.high_risk_from with the"
        " probabilities, and the columns of the newest extract with those of the training.",
        fine=f"Today's list has {sentences.count(len(known), 'band')}.",
    )
    return make_findings(settings, "one_band", len(known), words, LimitSide.BELOW)


def check_length(
    what: str, n_today: int, n_before: int | None, settings: CheckSettings
) -> list[Finding]:
    """Check whether a list or an extract has shrunk to half the length before."""
    shrunk = 0.0 if not n_before or n_before < MIN_LIST else 1 - n_today / n_before
    remedy = "Is the newest extract whole, and its day the newest?" if n_today else EMPTY_LIST
    words = Sentences(
        alarm=f"{what} has {sentences.count(n_today, 'client')}, and had {n_before} before: it"
        f" shrank by {shrunk:.0%}. {remedy}",
        fine=f"{what} has {sentences.count(n_today, 'client')}.",
    )
    return make_findings(settings, "shrunk_list", shrunk, words, LimitSide.REACHED)


def check_changed(
    n_returning: int, n_today: int, n_before: int, settings: CheckSettings
) -> list[Finding]:
    """Check whether most of today's clients were on the list before."""
    if min(n_today, n_before) < MIN_LIST:
        return []
    n_new = n_today - n_returning
    words = Sentences(
        alarm=f"{n_new} of the {n_today} clients of today's list were not among the {n_before} of"
        " the list before. Is the key written as in the older extracts, with its leading zeros?",
        fine=f"{n_new} of the {n_today} clients of today's list are new.",
    )
    return make_findings(settings, "changed_list", n_new / n_today, words)


def check_returned(
    n_returned: int, n_gone: int, n_today: int, settings: CheckSettings, *, is_expected: bool
) -> list[Finding]:
    """Check whether many clients in the newest extract had left before.

    Parameters
    ----------
    n_returned, n_gone, n_today : int
        How many of today's clients are back after leaving, how many clients of the extract are left
        out of the list because they have left, and how many are on it.
    settings : CheckSettings
        The limit.
    is_expected : bool
        Whether the extracts keep those who left by declaration, with the column of leaving.
    """
    n_clients = n_today + n_gone
    if n_clients < MIN_LIST:
        return []
    n_left = n_returned + n_gone
    back = f", and {n_returned} are on it, since they were away and are back" if n_returned else ""
    found = (
        f"{n_left} of the {n_clients} clients of the newest extract had left before: {n_gone} are"
        f" not on the list{back}."
    )
    words = Sentences(
        alarm=f"{found} If that is wrong, correct the outcomes. If it is right, export only those"
        " who are clients on the day, or name the column that says who left in schema.leaving.",
        fine=found if n_left else "",
    )
    share = (0 if is_expected else n_left) / n_clients
    return make_findings(settings, "returned_clients", share, words, LimitSide.REACHED)


def check_respelt(
    respelt: Sequence[tuple[str, int, int]], settings: CheckSettings
) -> list[Finding]:
    """Check whether keys of an extract are written otherwise than in the extract before.

    Parameters
    ----------
    respelt : sequence of tuple of str, int and int
        The day of each extract with such keys, their number, and the number of its rows.
    settings : CheckSettings
        The limit.
    """
    judged = [keys for keys in respelt if keys[2] >= MIN_LIST]
    if not judged:
        words = Sentences(alarm="", fine="The keys of all extracts are written alike.")
        return make_findings(settings, "respelt_keys", 0, words)
    day, n_respelt, n_rows = max(judged, key=lambda keys: keys[1] / keys[2])
    found = (
        f"{n_respelt} of the {n_rows} clients of the extract as of {day} are new, and their keys"
    )
    words = Sentences(
        alarm=f"{found} are those of clients who have vanished, written otherwise, such as with"
        " other leading zeros, capitals, thousands marks or another prefix. Correct the"
        " file, or they count as other clients.",
        fine=f"{found} are like those of clients who have vanished.",
    )
    return make_findings(settings, "respelt_keys", n_respelt / n_rows, words, LimitSide.REACHED)


def check_columns(names: Sequence[str], settings: CheckSettings) -> list[Finding]:
    """Check whether files have columns that earlier files lack, and that no model uses."""
    shown = ", ".join(map(repr, names[:MAX_NAMES]))
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    words = Sentences(
        alarm=f"Only some files have {shown}{more}, and no model uses them: the columns were chosen"
        " for an earlier model. To use one, leave out the files without it once enough others have"
        " it, and list it in schema.numeric or schema.categorical. To end this, list it in"
        " schema.ignore.",
        fine="No file has a new column.",
    )
    return make_findings(settings, "new_columns", len(names), words, LimitSide.REACHED)


def check_never_empty(settings: CheckSettings) -> list[Finding]:
    """Return the problem of dated rows that never gave a list."""
    words = Sentences(alarm=f"Today's list is empty, and was never filled. {EMPTY_LIST}", fine="")
    return make_findings(settings, "shrunk_list", 1.0, words, LimitSide.REACHED)


def check_list(
    bands: Mapping[str, int], n_before: int | None, settings: CheckSettings
) -> list[Finding]:
    """Check today's list: not empty, at least half as long as before, several bands.

    Parameters
    ----------
    bands : mapping of str to int
        The number of clients by band.
    n_before : int or None
        The length of the list before, None without one.
    settings : CheckSettings
        The share by which the list may shrink.
    """
    n_today = sum(bands.values())
    if n_before is None and not n_today:
        return []
    known = [name for name, count in bands.items() if count and name != NO_DATA]
    findings = check_length("Today's list", n_today, n_before, settings)
    if n_today >= MIN_LIST:
        findings += check_bands(known, n_today, settings)
    return findings


def check_predicted(
    n_predicted: int, n_today: int, share_left: float, settings: CheckSettings
) -> list[Finding]:
    """Check whether anybody of today's list is predicted to leave.

    Parameters
    ----------
    n_predicted, n_today : int
        The clients of today's list from the threshold of the model on, and all with enough data.
    share_left : float
        The share of leavers in training, from 0 to 1.
    settings : CheckSettings
        The limits.
    """
    n_expected = share_left * n_today
    if n_today < MIN_LIST or n_expected < MIN_EXPECTED:
        return []
    words = Sentences(
        alarm=f"{n_predicted} of the {n_today} clients of today's list are predicted to leave, and"
        f" by the labels about {n_expected:.0f} will: the list is in the order of the risk, but"
        " names nobody. Compare the newest extract with those of the training, and the threshold of"
        " the model with the probabilities.",
        fine=f"{n_predicted} of the {n_today} clients of today's list are predicted to leave.",
    )
    return make_findings(settings, "nobody_predicted", n_predicted, words, LimitSide.BELOW)


class OutcomeSums(Struct, frozen=True):
    """The outcomes of a scoring: number of clients, sums over probabilities, number of leavers.

    Clients whom somebody tried to contact are left out.
    """

    n_scored: int
    n_known: int
    n_left: int
    sum_predicted: float
    sum_variance: float


def with_left_before(found: OutcomeSums, n_left_before: int) -> OutcomeSums:
    """Return the outcomes of a scoring with those of clients who had left before it.

    Outcomes may be known beyond the day of an extract when its first list is made: who has left
    until then is on no list. Without them fewer clients leave than any model could predict. Their
    probabilities are taken to be those of leavers by the model: the mean of the probabilities,
    each weighted by itself.

    Parameters
    ----------
    found : OutcomeSums
        The outcomes beside the probabilities.
    n_left_before : int
        The clients of the extract who left within the horizon and are on no list.
    """
    if not n_left_before or found.sum_predicted <= 0:
        return found
    usual = (found.sum_predicted - found.sum_variance) / found.sum_predicted
    return OutcomeSums(
        n_scored=found.n_scored + n_left_before, n_known=found.n_known + n_left_before,
        n_left=found.n_left + n_left_before,
        sum_predicted=found.sum_predicted + n_left_before * usual,
        sum_variance=found.sum_variance + n_left_before * usual * (1 - usual),
    )  # fmt: skip


def compare_shares(found: OutcomeSums, n_training: int) -> float:
    """Return the probability of a difference from the predicted number at least as large.

    Parameters
    ----------
    found : OutcomeSums
        The outcomes beside the probabilities.
    n_training : int
        The number of rows the model was trained on, whose share is uncertain as well.

    Returns
    -------
    float
        The two-sided p-value of a normal approximation to the Poisson binomial distribution.
    """
    variance = found.sum_variance * (1 + found.n_known / max(1, n_training))
    if variance <= 0:
        return 1.0
    # Half a client for the step from one number to the next.
    distance = max(0.0, abs(found.n_left - found.sum_predicted) - 0.5)
    return math.erfc(distance / math.sqrt(2 * variance))


def count_cases(p_value: float) -> int:
    """Return n for a probability of one in n cases, to two digits."""
    return int(float(f"{1 / max(p_value, RAREST):.2g}"))


def check_outcomes(found: OutcomeSums, n_training: int, settings: CheckSettings) -> list[Finding]:
    """Check whether predicted and realised shares of a scoring are apart beyond chance.

    Outcomes of a small part of a scoring are often those of leavers first, and say nothing.
    """
    if found.n_known < max(MIN_OUTCOMES, MIN_KNOWN_FRACTION * found.n_scored):
        return []
    p_value = compare_shares(found, n_training)
    shares = (
        f"{found.n_left / found.n_known:.1%} of {found.n_known} clients whom nobody called left,"
        f" and {found.sum_predicted / found.n_known:.1%} were predicted to"
    )
    words = Sentences(
        alarm=f"{shares}: chance alone makes so large a difference in 1 of"
        f" {count_cases(p_value):,} cases."
        " See whether the outcomes are whole, and whether a newer model was held back.",
        fine=f"{shares}, which chance explains.",
    )
    return make_findings(settings, "outcome_shares", p_value, words, LimitSide.BELOW)


def check_age(
    days_behind: float, period_days: float, horizon_days: float, settings: CheckSettings
) -> list[Finding]:
    """Check whether the test data is older than the data to judge.

    Parameters
    ----------
    days_behind : float
        The days from the newest test row to the newest row.
    period_days, horizon_days : float
        The days from an extract to the next one, and until the outcome of a row is known.
    settings : CheckSettings
        The number of periods that the test data may be older.
    """
    if period_days <= 0:
        return []
    # A row is judged a horizon later at the earliest.
    n_periods = max(0.0, days_behind - horizon_days) / period_days
    return make_findings(
        settings,
        "old_test_data",
        n_periods,
        Sentences(
            alarm=f"The newest test row is {days_behind:.0f} days older than the newest extract,"
            f" {n_periods:.1f} periods more than outcomes need. Bring the outcomes since then, or"
            " newer test data.",
            fine=f"The test data is {n_periods:.1f} periods older than it must be.",
        ),
    )
