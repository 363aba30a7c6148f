"""The effect of calling: intervals of the literature, harm that is seen, and no false promise."""

import numpy as np
import pytest

from scripts.model import holdout_effect
from scripts.model.holdout_effect import Arm, Belief, EffectVerdict, MeasuredRate


def test_the_interval_is_that_of_the_literature() -> None:
    # Newcombe (1998), table II, column (a): 56 of 70 against 48 of 80, method 10.
    effect = holdout_effect.compare(Arm(70, 56), Arm(80, 48))

    assert effect.difference == pytest.approx(0.2)
    assert (effect.low, effect.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_published_trial_is_harm() -> None:
    # 10.0 % of the clients contacted left, and 6.4 % of those left alone.
    effect = holdout_effect.compare(Arm(9_000, 900), Arm(1_000, 64))

    assert effect.verdict is EffectVerdict.HARMS
    assert effect.difference == pytest.approx(0.036)


def test_fewer_leavers_among_the_listed_are_help() -> None:
    assert holdout_effect.compare(Arm(9_000, 576), Arm(1_000, 100)).verdict is EffectVerdict.HELPS


def test_without_outcomes_there_is_no_verdict() -> None:
    effect = holdout_effect.compare(Arm(10, 3), Arm(0, 0))

    assert (effect.difference, effect.verdict) == (None, EffectVerdict.NO_DATA)


def test_at_most_one_null_in_twenty_is_said_to_help() -> None:
    random = np.random.default_rng(1)
    listed, held_out = random.binomial(900, 0.1, 400), random.binomial(100, 0.1, 400)

    verdicts = [
        holdout_effect.compare(Arm(900, int(one)), Arm(100, int(two)), 2).verdict
        for one, two in zip(listed, held_out, strict=True)
    ]

    assert verdicts.count(EffectVerdict.HELPS) <= 0.05 * 400


def test_more_looks_make_the_interval_wider() -> None:
    widths = [
        (effect.high or 0) - (effect.low or 0)
        for effect in (holdout_effect.compare(Arm(90, 30), Arm(30, 10), n) for n in (1, 2, 12))
    ]

    assert widths == sorted(widths)
    assert widths[0] < widths[1]


def test_the_number_of_clients_is_that_of_the_formula() -> None:
    # (1.95996 + 0.84162)^2 * (0.2 * 0.8 / 0.5 + 0.14 * 0.86 / 0.5) / 0.06^2 = 1222.7
    assert holdout_effect.clients_needed(0.2, 0.3, 0.5) == 1223
    assert holdout_effect.clients_needed(0.2, 0.0, 0.5) is None
    assert holdout_effect.clients_needed(0.0, 0.3, 0.5) is None


def test_the_number_of_clients_gives_the_power() -> None:
    random, held_out, n_trials = np.random.default_rng(2), 0.2, 400
    needed = holdout_effect.clients_needed(0.25, 0.3, held_out)
    assert needed is not None
    n_held_out = round(needed * held_out)
    arms = [
        (Arm(needed - n_held_out, int(one)), Arm(n_held_out, int(two)))
        for one, two in zip(
            random.binomial(needed - n_held_out, 0.175, n_trials),
            random.binomial(n_held_out, 0.25, n_trials),
            strict=True,
        )
    ]

    n_seen = sum(holdout_effect.compare(*pair).verdict is EffectVerdict.HELPS for pair in arms)

    assert 0.74 <= n_seen / n_trials <= 0.88


def test_the_effect_of_a_contact_is_the_effect_over_the_contacted_share() -> None:
    effect = holdout_effect.compare(Arm(1000, 150), Arm(1000, 200))

    by_contact = holdout_effect.effect_by_contact(effect, 0.55, 0.05)

    assert by_contact is not None
    assert (by_contact.share, by_contact.difference) == pytest.approx((0.5, -0.1))
    assert holdout_effect.effect_by_contact(effect, 0.05, 0.05) is None


def test_the_save_rate_is_the_share_of_leavers_that_a_call_keeps() -> None:
    measured = holdout_effect.measure_save_rate(Arm(1000, 150), Arm(500, 100))

    assert measured is not None
    assert measured.save_rate == pytest.approx(0.25)
    # 0.75 * sqrt(0.85 / 150 + 0.8 / 100)
    assert measured.standard_error == pytest.approx(0.75 * 0.116905, abs=1e-5)
    half = holdout_effect.measure_save_rate(Arm(1000, 150), Arm(500, 100), 0.5)
    assert half is not None
    assert half.save_rate == pytest.approx(0.5)
    assert holdout_effect.measure_save_rate(Arm(10, 0), Arm(10, 1)) is None


def test_a_certain_measurement_replaces_the_belief() -> None:
    believed = Belief(6, 14)

    unsure, sure = (
        holdout_effect.update_belief(believed, MeasuredRate(0.6, error)) for error in (10.0, 0.001)
    )

    assert holdout_effect.update_belief(believed, None) == believed
    assert unsure.mean == pytest.approx(0.3, abs=1e-3)
    assert unsure.variance == pytest.approx(believed.variance, rel=1e-3)
    assert sure.mean == pytest.approx(0.6, abs=1e-3)
    assert sure.variance == pytest.approx(0.001**2, rel=1e-2)


def test_belief_and_measurement_of_equal_certainty_meet_in_the_middle() -> None:
    believed = Belief(6, 14)

    updated = holdout_effect.update_belief(believed, MeasuredRate(0.5, believed.variance**0.5))

    assert updated.mean == pytest.approx(0.4)
    assert updated.variance == pytest.approx(believed.variance / 2)


def test_a_measured_harm_leaves_hardly_a_rate() -> None:
    updated = holdout_effect.update_belief(Belief(6, 14), MeasuredRate(-0.56, 0.03))

    assert updated.mean == pytest.approx(0.001)
    assert updated.alpha > 0 < updated.beta
