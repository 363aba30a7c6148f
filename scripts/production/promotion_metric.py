"""Candidate and production on the test data by the metric of the promotion."""

from scripts.core.config import WorklistSettings
from scripts.data import dataset
from scripts.model import gain, metrics, paired_metrics
from scripts.model.logistic_model import Model
from scripts.model.paired_metrics import MetricComparison, MetricTerms
from scripts.production import client_values
from scripts.production.run_context import RunContext


def find_listed_fraction(settings: WorklistSettings, n_clients: int) -> float:
    """Return the share of clients within the capacity of the team, 1 without a capacity."""
    if settings.capacity is None or n_clients == 0:
        return 1.0
    return min(1.0, settings.capacity / n_clients)


def compare(
    context: RunContext, candidate: Model, production: Model, n_judged: int = 1
) -> MetricComparison | None:
    """Compare two models by `promotion.metric` on the test data.

    Parameters
    ----------
    context : RunContext
        The context of the run, with the number of today's clients where it is known. Without it the
        team calls as many of the test rows as of today's clients.
    candidate, production : Model
        Models that can be compared.
    n_judged : int
        How many candidates the test rows have judged, this one included.

    Returns
    -------
    MetricComparison or None
        None for F1, which the gate compares itself, or without a test row of each class.

    Raises
    ------
    DatasetError
        If the test data lacks the column of the worth.
    """
    metric, settings = context.config.promotion.metric, context.config.worklist
    if metric == "f1":
        return None
    value, costs = None, None
    if metric == "expected_gain" and settings.costs is not None:
        table, value = client_values.read_test_values(context, candidate)
        costs = gain.as_terms(settings.costs)
    else:
        table, _ = context.test_data.read(candidate.schema)
    y = dataset.target(table, candidate.schema)
    if not 0 < int(y.sum()) < len(y):
        return None
    pair = tuple(metrics.predict_table(model, table)[1] for model in (candidate, production))
    listed_fraction = find_listed_fraction(settings, context.n_clients or len(y))
    terms = MetricTerms(listed_fraction, value, costs)
    return paired_metrics.compare(metric, y, (pair[0], pair[1]), terms, n_judged)
