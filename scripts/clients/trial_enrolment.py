"""The clients to call in the trial of a period, listed or held out."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
from msgspec import Struct

from scripts.clients import holdout
from scripts.clients.holdout import HoldoutPeriod
from scripts.clients.todays_clients import TodaysClients, TodaysScores
from scripts.core import keys
from scripts.core.config import Config
from scripts.data.arrays import Mask, Places, ShortInts
from scripts.model import ranking
from scripts.records.tables import BlockKind


class TrialFacts(Struct, frozen=True):
    """The scoring that enrols clients, the period, and the number of clients on the list."""

    run_id: int
    scoring_id: int
    now: datetime
    period: HoldoutPeriod
    n_listed: int


def draw(today: TodaysClients, config: Config, period: HoldoutPeriod) -> Mask:
    """Return which of today's clients are held out, of shape (n_clients,)."""
    key = keys.make_key(config.prod_deployment_path)

    def drawn() -> Iterator[bool]:
        """Yield whether each client is held out."""
        for rows in today.parts():
            for name in today.names(rows):
                yield holdout.is_held_out(key, name, period)

    return np.fromiter(drawn(), np.bool_, len(today))


def list_rows(
    today: TodaysClients,
    scores: TodaysScores,
    kept: Places,
    orders: Mapping[BlockKind, ShortInts],
    held_out: Mask,
    facts: TrialFacts,
) -> list[dict[str, Any]]:
    """Return the clients of the trial as rows of the records: the first ones of the list.

    Parameters
    ----------
    today : TodaysClients
        All of today's clients.
    scores : TodaysScores
        Their scores.
    kept : numpy.ndarray of shape (n_kept,)
        The rows of the clients on the list.
    orders : mapping of BlockKind to numpy.ndarray of shape (n_kept,)
        The orders of the list. The trial follows that by gain, where there is one, else by risk.
    held_out : numpy.ndarray of shape (n_clients,)
        Which clients are held out. They count as much for the length of the trial as the others, so
        that chance alone decides between both groups.
    facts : TrialFacts
        The scoring.
    """
    order = orders.get(BlockKind.GAIN, orders[BlockKind.RISK])
    n_wanted = holdout.count_eligible(facts.n_listed, facts.period.fraction)
    places = np.empty(len(kept), np.int64)
    places[orders[BlockKind.RISK]] = np.arange(1, len(kept) + 1)
    no_data = ranking.WORDS.index(ranking.NO_DATA)
    numbers = [int(n) for n in order[:n_wanted] if scores.band[kept[n]] != no_data]
    rows = kept[np.array(numbers, np.int64)]
    names = today.names(rows) if numbers else []
    return [
        {
            "run_id": facts.run_id, "scoring_id": facts.scoring_id, "period": facts.period.start,
            "until": facts.period.until, "client": name, "is_held_out": bool(held_out[row]),
            "enrolled_at": facts.now, "enrolled_on": facts.now.date().isoformat(),
            "ends_at": facts.period.ends_at,
            "probability": float(scores.probability[row]),
            "band": ranking.WORDS[scores.band[row]], "position": int(places[number]),
        }
        for number, row, name in zip(numbers, rows.tolist(), names, strict=True)
    ]  # fmt: skip
