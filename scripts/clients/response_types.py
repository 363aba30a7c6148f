"""The response types about clients for the API, the command line and the pages."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from scripts.model.ranking import BandLimits

Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
# A moment of RFC 3339, in UTC.
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class Interval(Struct, frozen=True, kw_only=True):
    """A share with the 95 % interval and the counts, null without a whole."""

    n_part: Count
    n_whole: Count
    share: Fraction | None
    low: Fraction | None
    high: Fraction | None


class ReasonPartner(Struct, frozen=True, kw_only=True):
    """A further column of a common reason of several columns."""

    column: str
    value: float | str | None
    typical: float | str


class ReasonEntry(Struct, frozen=True, kw_only=True):
    """The part of a column in a client's log-odds against the baseline, with a sentence.

    The baseline of a number is a typical client who stays. That of a category is the mean of all
    clients, `share` of whom have it. With a partner, the part of two columns together; with
    `members`, the sum of a group of columns, of which `column` is the strongest. `before` is the
    value at the score before, where the change made the effect.
    """

    column: str
    value: float | str | None
    typical: float | str
    effect: float
    text: str
    share: Fraction | UnsetType = UNSET
    before: float | str | UnsetType = UNSET
    partner: ReasonPartner | UnsetType = UNSET
    group: str | UnsetType = UNSET
    members: list[ReasonPartner] | UnsetType = UNSET


class WorkState(Struct, frozen=True, kw_only=True):
    """The state of the work with a client: last contact, assignment, and snooze.

    A client who is away stands at the end of the list. `version` is the number of the last entry.
    """

    result: str | None
    contacted_on: str | None
    contacted_by: str | None
    note: str | None
    assigned_to: str | None
    snoozed_until: str | None
    is_away: bool
    version: Count


class WorkEntry(Struct, frozen=True, kw_only=True):
    """A change of the work with a client: actor, moment, value before and value after.

    The value is a result, a name, or the day on which a snooze ends.
    """

    id: Count
    at: Moment
    actor: str
    client: str
    kind: str
    before: str | None
    after: str | None
    contacted_on: str | None
    contacted_by: str | None
    note: str | None


class WorkHistory(Struct, frozen=True, kw_only=True):
    """The latest entries about the work with all clients, newest first."""

    entries: list[WorkEntry]
    next_offset: int | None


class RecordedWork(Struct, frozen=True, kw_only=True):
    """The result of recording: numbers of new and of known entries, and the states afterwards."""

    n_recorded: Count
    n_known: Count
    clients: dict[str, WorkState]


class WorklistEntry(Struct, frozen=True, kw_only=True):
    """A client on the worklist, with the change of the probability since the previous score.

    `names` are the texts of `schema.names`, such as the company, by column, and `columns` the
    values of `worklist.columns`. With a declared worth of clients, `value` is the
    client's, null where the column has none, and `gain` is what contacting the client is expected
    to bring. A client that is held out, so that the effect of calling is measured, is not to be
    called until the day `held_out_until` is over.
    """

    position: Count
    client: str
    probability: Fraction
    band: str
    reasons: list[ReasonEntry]
    previous_probability: Fraction | None
    previous_at: Moment | None
    change: float | None
    work: WorkState | None
    columns: dict[str, float | str | None]
    names: dict[str, str] | UnsetType = UNSET
    value: float | UnsetType | None = UNSET
    gain: float | UnsetType = UNSET
    held_out_until: str | UnsetType = UNSET


class Capacity(Struct, frozen=True, kw_only=True):
    """The expected share of the exits on a list as long as the capacity of the team."""

    n_listed: Count
    listed_fraction: Fraction
    caught: Interval
    n_test_rows: Count


class BestLength(Struct, frozen=True, kw_only=True):
    """The length of the list with the highest expected gain, with 95 % intervals.

    The interval of the length is that of the belief about the save rate; so is that of the gain of
    a list of `n_clients`.
    """

    n_clients: Count
    low: Count
    high: Count
    gain: float
    gain_low: float
    gain_high: float


class ListGain(Struct, frozen=True, kw_only=True):
    """The costs and the belief behind the expected gains, and the best length of the list.

    The save rate, the share of leavers who can be kept, has the distribution Beta(alpha, beta).
    """

    value: str | float
    assumed_value: float | None
    n_without_value: Count
    contact: float
    offer: float
    alpha: float
    beta: float
    takers_fraction: Fraction
    save_rate: Fraction
    save_low: Fraction
    save_high: Fraction
    best: BestLength


class Worklist(Struct, frozen=True, kw_only=True):
    """Today's clients in an order, for example by falling probability, with counts over the list.

    `columns` are those to filter and to order by: features, and columns kept for people. `as_of`
    is the newest day of dated rows.
    """

    clients: list[WorklistEntry]
    n_clients: Count
    n_found: Count
    n_away: Count
    bands: dict[str, Count]
    limits: BandLimits | None
    capacity: Capacity | None
    scored_at: Moment | None
    run_id: int | None
    model_stamp: str | None
    next_offset: int | None
    next_cursor: str | None
    release: str | None
    order: str = "risk"
    gain: ListGain | None = None
    n_held_out: Count = 0
    held_out_until: str | None = None
    columns: list[str] = []
    as_of: str | None = None


class ScoreEntry(Struct, frozen=True, kw_only=True):
    """A score of a client, with contributions adding up to the log-odds with the intercept.

    Each column has half of the pairs of columns that it is in. `as_of` is the newest day of the
    list where rows are dated.
    """

    scored_at: Moment
    probability: Fraction
    band: str
    position: Count
    n_clients: Count
    release: str
    model_stamp: str
    values: dict[str, float | str | None]
    contributions: dict[str, float]
    as_of: str | None = None


class Movement(Struct, frozen=True, kw_only=True):
    """The effect of a changed value on the log-odds of a client."""

    column: str
    before: float | str | None
    after: float | str | None
    effect: float
    text: str


class Change(Struct, frozen=True, kw_only=True):
    """The change of the log-odds since the previous score: the sum of movements and retraining."""

    before_at: Moment
    after_at: Moment
    before_probability: Fraction
    after_probability: Fraction
    before_log_odds: float
    after_log_odds: float
    movements: list[Movement]
    retraining: float
    is_retrained: bool
    text: str


class OutcomeEntry(Struct, frozen=True, kw_only=True):
    """The outcome of a client beside the last prediction, with the day of a dated row.

    `names` are the texts of `schema.names` by column. `previously` is the outcome before a
    correction: whether the client had left.
    """

    client: str
    names: dict[str, str] | UnsetType = UNSET
    as_of: str | None
    exited: bool
    previously: bool | None
    known_at: Moment
    scored_at: Moment
    probability: Fraction
    band: str
    position: Count
    is_listed: bool
    release: str


class ClientDetails(Struct, frozen=True, kw_only=True):
    """A client: last score, reasons, causes of the change, and every score, newest first.

    `names` are the texts of `schema.names`, such as the company, by column, and `columns` the
    values of `worklist.columns`. With a declared worth of clients, `value` is the client's, null
    where the column has none, and `gain` is the expected gain of a contact. A client that is held
    out is not to be called until the day `held_out_until` is over.
    """

    client: str
    is_current: bool
    last: ScoreEntry
    limits: BandLimits
    reasons: list[ReasonEntry]
    change: Change | None
    history: list[ScoreEntry]
    outcomes: list[OutcomeEntry]
    work: WorkState | None
    work_history: list[WorkEntry]
    release: str
    columns: dict[str, float | str | None] = {}
    names: dict[str, str] | UnsetType = UNSET
    value: float | UnsetType | None = UNSET
    gain: float | UnsetType = UNSET
    held_out_until: str | UnsetType = UNSET


class EffectEntry(Struct, frozen=True, kw_only=True):
    """The leavers among listed and held-out clients, and the difference with the interval.

    The difference is the share of the listed less that of the held-out clients: below 0 calling
    helps. It is null while a group has no outcome.
    """

    name: str
    n_listed: Count
    n_held_out: Count
    listed: Interval
    held_out: Interval
    difference: float | None
    low: float | None
    high: float | None


class ContactEffect(Struct, frozen=True, kw_only=True):
    """The effect of a contact on the clients contacted because of the list."""

    n_contacted: Count
    contacted_share: Fraction
    held_out_contacted_share: Fraction
    difference: float | None
    low: float | None
    high: float | None
    text: str


class SaveRate(Struct, frozen=True, kw_only=True):
    """The share of leavers kept by a call: as believed, as measured, and both together.

    Both together are the distribution Beta(alpha, beta), by which gains are computed.
    """

    believed: Fraction
    measured: float | None
    measured_low: float | None
    measured_high: float | None
    alpha: float
    beta: float
    mean: Fraction
    text: str


class CallingEffect(Struct, frozen=True, kw_only=True):
    """The effect of calling: leavers among listed clients against held-out clients."""

    is_on: bool
    verdict: str
    text: str
    cost_text: str
    fraction: Fraction
    days: Count
    period: str | None
    until: str | None
    n_looks: Count
    n_more: int | None
    effect: EffectEntry
    bands: list[EffectEntry]
    periods: list[EffectEntry]
    contact: ContactEffect | None
    save_rate: SaveRate
    release: str | None


class DecileEntry(Struct, frozen=True, kw_only=True):
    """Predicted and realised exits of a tenth of the clients by probability."""

    low: Fraction
    high: Fraction
    n_clients: Count
    mean_probability: Fraction
    exited: Interval


class Outcomes(Struct, frozen=True, kw_only=True):
    """The outcomes beside the predictions, with unreliable shares while `is_enough` is false."""

    is_enough: bool
    text: str
    n_outcomes: Count
    n_needed: Count
    n_listed_per_scoring: Count
    precision: Interval
    recall: Interval
    n_missed: Count
    n_false_alarms: Count
    deciles: list[DecileEntry]
    warning_days_median: float | None
    n_warned: Count
    outcomes: list[OutcomeEntry]
    release: str | None
    kept_days: int | None = None
