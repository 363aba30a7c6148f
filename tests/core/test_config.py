"""Meaning of the settings."""

from typing import Any

import pytest

from scripts.core import config
from scripts.core.config import Schema, normalise_label


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (1, "1"), (1.0, "1"), ("1.0", "1"), (" 1 ", "1"), ("1e0", "1"), (True, "true"),
        ("True", "true"), ("YES", "yes"), (0.5, "0.5"), ("", ""), ("1_0", "1_0"),
        ("\uff11", "\uff11"), ("-0", "0"), ("nan", "nan"),
    ],
)  # fmt: skip
def test_a_label_has_one_canonical_text(label: str | float | bool, text: str) -> None:
    assert normalise_label(label) == text


@pytest.mark.parametrize(
    ("positive", "negative"), [(1, "0"), (0, "1"), ("yes", "no"), ("Y", "n"), (True, "false")]
)
def test_the_opposite_of_a_usual_label_is_known(positive: Any, negative: str) -> None:
    assert Schema(positive=positive).labels == {normalise_label(positive): 1, negative: 0}


def test_only_the_practice_columns_have_a_minimum_by_themselves() -> None:
    assert Schema().minimums == dict.fromkeys(config.PRACTICE_NUMERIC, 0.0)
    assert Schema(numeric=("balance",)).minimums == {}
    assert Schema(minimum={}).minimums == {}
