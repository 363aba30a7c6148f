"""Words of leaving and staying in names and labels, in several languages."""

import pytest

from scripts.data import leaving_words

LEAVING = (
    "churned", "gekündigt?", "Gekuendigt", "ku\u0308ndigung", "Austrittsdatum", "inaktiv",
    "Résilié le", "Départ", "ancien client", "Abwanderung", "disdetta", "Fecha de baja", "opgezegd",
    "resigned", "not renewed", "Former member", "moved_out", "drop out", "withdrawn",
)  # fmt: skip
NEITHER = (
    "Kündigungsfrist", "Département", "Ancienneté", "Partenaire", "Prix annuel", "Vertragsende",
    "former smoker", "withdrawals", "disconnects", "processed",
)  # fmt: skip


@pytest.mark.parametrize("name", LEAVING)
def test_a_word_of_leaving_is_known_with_and_without_accents(name: str) -> None:
    assert leaving_words.means_left(name)
    assert leaving_words.is_target_name(name)
    assert not leaving_words.means_stayed(name)


@pytest.mark.parametrize("name", NEITHER)
def test_a_word_like_one_of_leaving_is_none(name: str) -> None:
    assert not leaving_words.means_left(name)
    assert not leaving_words.is_target_name(name)
    assert not leaving_words.is_leaving_date(name)


@pytest.mark.parametrize("name", ["Grund der Kündigung", "Motif de résiliation", "churn reason"])
def test_the_reason_of_leaving_is_no_target(name: str) -> None:
    assert not leaving_words.is_target_name(name)


@pytest.mark.parametrize(
    "label", ["aktiv", "ungekündigt", "Actif", "retained", "Bestandskunde", "still_member"]
)
def test_a_word_of_staying_is_known(label: str) -> None:
    assert leaving_words.means_stayed(label)
    assert not leaving_words.means_left(label)


@pytest.mark.parametrize(
    "name", ["is_active", "isActive", "Active", "aktiv", "Kunde aktiv", "active_flag", "est actif"]
)
def test_a_flag_of_clients_is_known(name: str) -> None:
    assert leaving_words.is_active_flag(name)


@pytest.mark.parametrize("name", ["newsletter_active", "auto_renew", "activity", "active users"])
def test_a_flag_of_something_else_is_none_of_clients(name: str) -> None:
    assert not leaving_words.is_active_flag(name)
