"""Evaluation of a candidate by groups of clients, on the test data."""

import logging

import msgspec

from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.data import dataset
from scripts.model import group_metrics, metrics
from scripts.model.group_metrics import GroupMetrics
from scripts.model.logistic_model import Model
from scripts.production.run_context import RunContext

log = logging.getLogger(__name__)


def add_groups(schema: Schema, groups: tuple[str, ...]) -> Schema:
    """Return a schema with the columns of the groups, as texts unless known."""
    added = tuple(name for name in groups if name not in schema.columns)
    kept = tuple(name for name in schema.ignore if name not in added)
    return msgspec.structs.replace(schema, categorical=(*schema.categorical, *added), ignore=kept)


def main(context: RunContext, model: Model) -> list[GroupMetrics]:
    """Measure a model by the groups of config.json on the test data.

    Parameters
    ----------
    context : RunContext
        The context of the run.
    model : Model
        The model to measure.

    Returns
    -------
    list of GroupMetrics
        Empty without groups in config.json, or if no group has enough rows.

    Raises
    ------
    DatasetError
        If the test data lacks a column of the groups.
    """
    settings = context.config.evaluation
    if not settings.groups:
        return []
    try:
        table, _ = context.test_data.read(add_groups(model.schema, settings.groups))
    except DatasetError as error:
        raise DatasetError(
            f"evaluation.groups {list(settings.groups)} cannot be measured on the test data:"
            f" {error}"
        ) from error
    predicted, probability = metrics.predict_table(model, table)
    y = dataset.target(table, model.schema)
    measured = list(
        group_metrics.measure_groups(
            table, settings.groups, y, predicted, probability, settings.min_group_rows
        )
    )
    log.info(
        "Measured %d groups of %s with at least %d test rows.",
        len(measured), ", ".join(settings.groups), settings.min_group_rows,
    )  # fmt: skip
    return measured
