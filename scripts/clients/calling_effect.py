"""Whether calling helps: the trial of listed against held-out clients, from the records."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy.engine import Connection

from scripts.clients import worklist
from scripts.clients.response_types import (
    CallingEffect,
    ContactEffect,
    EffectEntry,
    SaveRate,
)
from scripts.core.amounts import format_amount
from scripts.core.config import CostSettings, WorklistSettings
from scripts.model import holdout_effect
from scripts.model.holdout_effect import Arm, Belief, EffectVerdict, HoldoutEffect, MeasuredRate
from scripts.model.outcome_metrics import Z
from scripts.records import scoring_records, trials
from scripts.records.runs import Row
from scripts.records.trials import TrialGroup

# Fewer outcomes in a group, and no verdict is given.
MIN_OUTCOMES = 30
# What is counted on where the config has no belief.
UNDECLARED = CostSettings(contact=0, offer=0)
# The published trial: Ascarza, Iyengar and Schleicher (2016), "The perils of proactive churn
# prevention using plan recommendations: evidence from a field experiment".
WARNING = (
    "In a published randomised trial 10.0 % of the clients contacted left, and 6.4 % of those left"
    " alone."
)
EXAMPLE_FRACTION = 0.1
PLANNED_SHARE = 0.2
BANDS = ("high", "medium", "low")


def arms_of(groups: Iterable[TrialGroup]) -> tuple[Arm, Arm]:
    """Return the listed and the held-out clients with a known outcome."""
    arms = [Arm(0, 0), Arm(0, 0)]
    for group in groups:
        arms[group.is_held_out] += Arm(group.n_known, group.n_left)
    return arms[0], arms[1]


def as_effect(name: str, groups: Sequence[TrialGroup], effect: HoldoutEffect) -> EffectEntry:
    """Return an effect as the response type."""
    n_held_out = sum(group.n_clients for group in groups if group.is_held_out)
    return EffectEntry(
        name=name,
        n_listed=sum(group.n_clients for group in groups) - n_held_out,
        n_held_out=n_held_out,
        listed=worklist.as_interval(effect.listed),
        held_out=worklist.as_interval(effect.held_out),
        difference=effect.difference,
        low=effect.low,
        high=effect.high,
    )


def split_effects(
    groups: Sequence[TrialGroup], key: Callable[[TrialGroup], str], names: Iterable[str]
) -> list[EffectEntry]:
    """Return the effect in each part of the clients, without empty parts."""
    parts = {name: [group for group in groups if key(group) == name] for name in names}
    return [
        as_effect(name, part, holdout_effect.compare(*arms_of(part)))
        for name, part in parts.items()
        if part
    ]


def count_looks(groups: Sequence[TrialGroup]) -> int:
    """Return how often the question was asked: once a period with outcomes, and once today."""
    return 1 + len({group.period for group in groups if group.n_known})


def judge(effect: HoldoutEffect, listed: Arm, held_out: Arm) -> EffectVerdict:
    """Return the verdict, by the effect if both groups have enough outcomes."""
    if min(listed.n_clients, held_out.n_clients) < MIN_OUTCOMES:
        return (
            EffectVerdict.OPEN if listed.n_clients or held_out.n_clients else EffectVerdict.NO_DATA
        )
    return effect.verdict


def format_points(difference: float) -> str:
    """Format a difference of shares in percentage points."""
    return f"{100 * difference:+.1f}"


def describe(effect: HoldoutEffect, verdict: EffectVerdict, n_more: int | None) -> str:
    """Return the answer in a sentence or two."""
    if effect.difference is None or effect.low is None or effect.high is None:
        return "No client of both groups has an outcome yet."
    answers = {
        EffectVerdict.HELPS: "Calling helps",
        EffectVerdict.HARMS: "Calling harms: more of those on the list left than of those left"
        " alone",
        EffectVerdict.OPEN: "It cannot be told yet whether calling helps",
    }
    text = (
        f"{answers[verdict]}. Of the clients on the list {effect.listed.share:.1%} left, of those"
        f" held out {effect.held_out.share:.1%}: {format_points(effect.difference)} percentage"
        f" points (95 % interval {format_points(effect.low)} to {format_points(effect.high)})."
    )
    if verdict is EffectVerdict.OPEN and n_more is not None:
        text += f" About {n_more:,} more clients are needed to see the effect that is believed in."
    return text


def find_needed(
    settings: WorklistSettings, believed: Belief, arms: tuple[Arm, Arm], expected: float
) -> int | None:
    """Return the number of further clients until the believed effect is visible.

    Parameters
    ----------
    settings : WorklistSettings
        With the share of held-out clients.
    believed : Belief
        The belief about the save rate.
    arms : tuple of two Arm
        The outcomes so far.
    expected : float
        The share of leavers to count on while the held-out clients have too few outcomes.
    """
    listed, held_out = arms
    is_known = held_out.n_clients >= MIN_OUTCOMES and held_out.n_left
    share = held_out.share if is_known else expected
    fraction = settings.holdout_fraction or EXAMPLE_FRACTION
    needed = holdout_effect.clients_needed(share, believed.mean, fraction)
    return None if needed is None else max(0, needed - listed.n_clients - held_out.n_clients)


def describe_contact(difference: float | None, share: float) -> str:
    """Describe the effect by contact and its relation to the effect of the list."""
    if difference is None:
        return (
            "By contact nothing can be said yet: no contact of a listed client, or no outcome, is"
            " recorded."
        )
    return (
        f"The list led to a contact with {share:.0%} of its clients. A listed client without a"
        " contact counts as left alone. Then the whole difference comes from the contacted clients,"
        " and their effect is the first number divided by this share. Contacted and uncontacted"
        " clients are not compared with each other: people, not chance, choose whom to contact."
    )


def measure_contact(
    effect: HoldoutEffect, contacts: Sequence[tuple[bool, int, int]]
) -> ContactEffect | None:
    """Return the effect by contact, None without recorded contacts.

    Parameters
    ----------
    effect : HoldoutEffect
        By intention to treat.
    contacts : sequence of tuple of bool, int and int
        Whether the clients are held out, how many with an outcome, and how many contacted of them.
    """
    counts = {is_held_out: (n_known, n_reached) for is_held_out, n_known, n_reached in contacts}
    shares = [
        n / known if known else 0.0 for known, n in (counts.get(g, (0, 0)) for g in (False, True))
    ]
    n_contacted = counts.get(False, (0, 0))[1]
    if not n_contacted:
        return None
    found = holdout_effect.effect_by_contact(effect, shares[0], shares[1])
    return ContactEffect(
        n_contacted=n_contacted,
        contacted_share=shares[0],
        held_out_contacted_share=shares[1],
        difference=None if found is None else found.difference,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        text=describe_contact(None if found is None else found.difference, shares[0] - shares[1]),
    )


def believed_rate(settings: WorklistSettings) -> Belief:
    """Return the belief of the config about the save rate."""
    return Belief(*(settings.costs or UNDECLARED).save_rate)


def describe_rate(believed: Belief, measured: MeasuredRate | None, mean: float) -> str:
    """Return a sentence about the save rate behind the gains."""
    if measured is None:
        return f"Not measured yet: gains count on the believed {believed.mean:.0%}."
    half = Z * measured.standard_error
    rate, low, high = (
        # Rounding leaves no minus before a zero.
        f"{round(share, 2) + 0.0:.0%}"
        for share in (measured.save_rate, measured.save_rate - half, measured.save_rate + half)
    )
    found = f"Measured are {rate} (95 % interval {low} to {high}), believed {believed.mean:.0%}."
    if measured.is_harm:
        return f"{found} The measurement refutes the belief: the next run counts on nobody."
    return f"{found} Weighted by their certainty, the next run counts on {mean:.0%}."


def as_save_rate(believed: Belief, measured: MeasuredRate | None) -> SaveRate:
    """Return the save rate as believed, as measured, and together."""
    updated = holdout_effect.update_belief(believed, measured)
    half = 0.0 if measured is None else Z * measured.standard_error
    rate = None if measured is None else measured.save_rate
    return SaveRate(
        believed=believed.mean,
        measured=rate,
        measured_low=None if rate is None else rate - half,
        measured_high=None if rate is None else rate + half,
        alpha=updated.alpha,
        beta=updated.beta,
        mean=updated.mean,
        text=describe_rate(believed, measured, updated.mean),
    )


def measure_rate(
    groups: Sequence[TrialGroup], contact: ContactEffect | None
) -> MeasuredRate | None:
    """Return the measured save rate, None before both groups have enough outcomes.

    Where contacts are recorded, those contacted because of the list count as called, else all of
    the list.
    """
    listed, held_out = arms_of(groups)
    if min(listed.n_clients, held_out.n_clients) < MIN_OUTCOMES:
        return None
    share = 1.0
    if contact is not None:
        share = contact.contacted_share - contact.held_out_contacted_share
    return holdout_effect.measure_save_rate(listed, held_out, share)


def describe_cost(
    settings: WorklistSettings, scoring: Row | None, n_needed: int | None, *, had_trial: bool
) -> str:
    """Describe the cost of a trial, or of no trial, "" during a trial."""
    if settings.holdout_fraction > 0:
        return ""
    if had_trial:
        return (
            "Nobody is held out any more, so nothing new is measured. Below is what the trial"
            " before has shown."
        )
    text = (
        "Nobody is held out, so nobody can tell whether calling helps, does nothing, or drives"
        f" clients away. {WARNING} With worklist.holdout_fraction = {EXAMPLE_FRACTION:g} in"
        f" config.json {EXAMPLE_FRACTION:.0%} of the clients, drawn by chance, are left alone for"
        f" {settings.holdout_days} days at a time."
    )
    facts = None if scoring is None else scoring["gain_facts"]
    if facts is not None:
        lost = format_amount(EXAMPLE_FRACTION * facts["best"]["gain"])
        text += f" If the belief about the save rate is right, that forgoes {lost} of today's list."
    if n_needed is not None:
        text += f" After about {n_needed:,} clients it can be told."
    return text


def expected_share(groups: Sequence[TrialGroup]) -> float:
    """Return the share of leavers for planning: of all outcomes, or 0.2 without outcomes."""
    listed, held_out = arms_of(groups)
    both = listed + held_out
    return both.share if 0 < both.n_left < both.n_clients else PLANNED_SHARE


def current_rate(connection: Connection, settings: WorklistSettings) -> Belief:
    """Return the save rate behind the gains: the belief after the measurement."""
    groups = trials.count_groups(connection)
    effect = holdout_effect.compare(*arms_of(groups))
    contact = measure_contact(effect, trials.count_contacts(connection))
    return holdout_effect.update_belief(believed_rate(settings), measure_rate(groups, contact))


def calling_page(connection: Connection, settings: WorklistSettings) -> CallingEffect:
    """Return whether calling helps, by intention to treat first and by contact second.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    settings : WorklistSettings
        The share of held-out clients, and the belief about the save rate.

    Returns
    -------
    CallingEffect
        All clients who stood among those to call count, whether they were contacted or not: only
        between listed and held-out clients did chance decide.
    """
    groups = trials.count_groups(connection)
    scoring = scoring_records.last_scoring(connection)
    arms, n_looks = arms_of(groups), count_looks(groups)
    effect = holdout_effect.compare(*arms, n_looks)
    verdict = judge(effect, *arms)
    believed = believed_rate(settings)
    n_more = find_needed(settings, believed, arms, expected_share(groups))
    contact = measure_contact(effect, trials.count_contacts(connection))
    facts: dict[str, Any] = (scoring or {}).get("holdout_facts") or {}
    is_told = verdict in (EffectVerdict.HELPS, EffectVerdict.HARMS)
    return CallingEffect(
        is_on=settings.holdout_fraction > 0,
        verdict=str(verdict),
        text=describe(effect, verdict, n_more),
        cost_text=describe_cost(settings, scoring, n_more, had_trial=bool(groups)),
        fraction=settings.holdout_fraction,
        days=settings.holdout_days,
        period=facts.get("start"),
        until=facts.get("until"),
        n_looks=n_looks,
        n_more=None if is_told else n_more,
        effect=as_effect("all", groups, effect),
        bands=split_effects(groups, lambda group: group.band, BANDS),
        periods=split_effects(
            groups, lambda group: group.period, sorted({g.period for g in groups}, reverse=True)
        ),
        contact=contact,
        save_rate=as_save_rate(believed, measure_rate(groups, contact)),
        release=None if scoring is None else scoring["release"],
    )
