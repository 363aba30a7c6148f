"""Check of the values of today's clients beside those of the training rows, column by column."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from scripts.core.config import Config
from scripts.data import cells, client_dates, profile
from scripts.data.arrays import Floats
from scripts.data.cells import MISSING_CATEGORY
from scripts.data.profile import Bins, DatasetFacts
from scripts.model.logistic_model import Columns, Model
from scripts.production import checks
from scripts.production.checks import Finding, LimitSide, Sentences

# Of fewer rows the ends of a column are chance.
MIN_TRAINING_ROWS, MIN_CLIENTS = 200, 50
# Hardly a training row has a value beyond these quantiles.
HIGH, LOW = 0.95, 1 / profile.N_BINS
MAX_NAMED = 3
# From the training rows to today: the training ends a horizon before the test, which is mature, and
# later candidates may be held.
N_HORIZONS, USUAL_HORIZON_DAYS = 6, 30


class StrangeValues(Struct, frozen=True):
    """Values of a column that few training rows had, with the excess of their share today."""

    share: float
    words: str


def compare_blanks(name: str, missing: float, missing_before: float) -> StrangeValues:
    """Compare the shares of missing values of today's clients and of the training rows."""
    return StrangeValues(
        missing - missing_before,
        f"{name!r} is blank for {missing:.0%} of them, and was for {missing_before:.0%} of the"
        " training rows",
    )


def compare_numbers(
    name: str, values: Floats, bins: Bins, ageing: float = 0.0
) -> list[StrangeValues]:
    """Return the shares of numbers beyond both ends of those of the training rows.

    `ageing` is the growth of a number by time alone since the training rows.
    """
    n_before = sum(bins.counts)
    filled = values[~np.isnan(values)]
    if n_before < MIN_TRAINING_ROWS or len(filled) < MIN_CLIENTS:
        return []
    edge, low = profile.quantile(bins, HIGH), bins.edges[0]
    above_before = sum(bins.counts[bins.edges.index(edge) + 1 :]) / n_before
    high = edge + ageing
    above, below = float((filled > high).mean()), float((filled < low).mean())
    return [
        StrangeValues(
            above - above_before,
            f"{name!r} is above {high:g} for {above:.0%} of them, and was for {above_before:.0%} of"
            " the training rows",
        ),
        StrangeValues(
            below - LOW,
            f"{name!r} is below {low:g} for {below:.0%} of them, and was for {LOW:.0%} of the"
            " training rows at most",
        ),
    ]


def compare_categories(name: str, values: list[str], before: dict[str, int]) -> list[StrangeValues]:
    """Return the share of categories that no training row had, and compare the blank ones."""
    n_before = sum(before.values())
    if n_before < MIN_TRAINING_ROWS or len(values) < MIN_CLIENTS:
        return []
    now = Counter(values)
    missing, missing_before = now.pop(MISSING_CATEGORY, 0), before.get(MISSING_CATEGORY, 0)
    blanks = compare_blanks(name, missing / len(values), missing_before / n_before)
    new = Counter({category: count for category, count in now.items() if category not in before})
    if not new:
        return [blanks]
    share, shown = new.total() / len(values), cells.shorten(new.most_common(1)[0][0])
    words = (
        f"{name!r} of {share:.0%} of them is a category that no training row had, such as {shown}"
    )
    return [blanks, StrangeValues(share, words)]


def find_strange(
    columns: Columns, facts: DatasetFacts, ageing: Mapping[str, float]
) -> list[StrangeValues]:
    """List the strange values of each column, the largest share first."""
    kept, found = facts.reference, list[StrangeValues]()
    if kept is None or facts.n_rows < MIN_TRAINING_ROWS:
        return []
    for name, bins in kept.numeric.items():
        found += compare_numbers(name, columns[name], bins, ageing.get(name, 0.0))
        if len(columns[name]) >= MIN_CLIENTS:
            missing_before = 1 - sum(bins.counts) / facts.n_rows
            missing = float(np.isnan(columns[name]).mean())
            found.append(compare_blanks(name, missing, missing_before))
    for name, counts in kept.categorical.items():
        found += compare_categories(name, columns[name].tolist(), counts)
    return sorted(found, key=lambda strange: -strange.share)


def find_ageing(config: Config) -> dict[str, float]:
    """Return the days by which the days since a date may grow between training rows and today.

    Where hardly a client is new, all clients are older today than the training rows. These are a
    horizon before the test, whose outcomes took a horizon, too.
    """
    horizon_days = config.outcomes.horizon_days if config.outcomes else USUAL_HORIZON_DAYS
    names = map(client_dates.days_since, config.schema.date_formats)
    return dict.fromkeys(names, float(N_HORIZONS * horizon_days))


def check_values(columns: Columns, model: Model, config: Config) -> list[Finding]:
    """Check whether many of today's clients have values unlike those of the training rows.

    A unit, a format or the spelling of categories that changes in the newest extract changes
    every risk of the list, long before its outcomes show up in the training data.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray of shape (n_clients,)
        The features of today's clients.
    model : Model
        The model of the list.
    config : Config
        The limit, a share of today's clients beyond that of the training rows.
    """
    settings = config.checks
    found = find_strange(columns, model.dataset, find_ageing(config))
    limit = checks.find_limit(settings, "changed_values")
    if not found or limit is None:
        return []
    beyond = [s.words for s in found if s.share >= limit.limit][:MAX_NAMED]
    words = Sentences(
        alarm=f"Today's clients are unlike the training rows: {'; '.join(beyond)}. See whether a"
        " unit, a format or the spelling of categories has changed in the newest extract. A column"
        " that only tells when a row was made belongs into schema.ignore.",
        fine="The values of today's clients are like those of the training rows.",
    )
    return checks.make_findings(
        settings, "changed_values", found[0].share, words, LimitSide.REACHED
    )
