"""The records about the model in production, for the model card."""

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from scripts.model import outcome_metrics
from scripts.model.outcome_metrics import DecileCounts
from scripts.production.model_card import CardRecords, RealisedShares
from scripts.records import (
    evidence,
    outcome_records,
    run_details,
    runs,
    scoring_records,
    tables,
)
from scripts.records.tables import ApprovalState


def read_realised(connection: Connection) -> RealisedShares | None:
    """Return the outcomes beside the predictions, or None before the first outcome."""
    # The tenths are the same for each length of the list.
    recorded = outcome_metrics.decode_counts(outcome_records.find_counts(connection))
    if recorded is None:
        counted = outcome_records.count_by_tenth(outcome_records.read_judged(connection))
        tenths: Sequence[DecileCounts] = [DecileCounts(*counts) for counts in counted]
    else:
        tenths = recorded.deciles
    n_outcomes = sum(tenth.n_clients for tenth in tenths)
    if not n_outcomes:
        return None
    n_left = sum(tenth.n_exits for tenth in tenths)
    total = sum(tenth.sum_of_probabilities for tenth in tenths)
    return RealisedShares(n_outcomes, total / n_outcomes, n_left / n_outcomes)


def read_card(connection: Connection, release: str, model_stamp: str) -> CardRecords:
    """Read the records about a release.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction for reading.
    release : str
        The name of the release in production.
    model_stamp : str
        The stamp of its model.

    Returns
    -------
    CardRecords
        None and empty where a record is missing, as for a release that was copied in.
    """
    model = runs.find_model(connection, model_stamp)
    run_id = None if model is None else model["run_id"]
    described = run_details.last_described_run(connection)
    scoring = scoring_records.last_scoring(connection)
    return CardRecords(
        model=model,
        decision=runs.newest_row(connection, tables.decisions, candidate_stamp=model_stamp),
        deployment=runs.newest_row(connection, tables.deployments, release=release),
        approval=runs.newest_row(
            connection, tables.approvals, release=release, state=ApprovalState.APPROVED
        ),
        score=runs.newest_row(connection, tables.production_scores, release=release),
        run=None if run_id is None else runs.find_run(connection, run_id),
        files=() if run_id is None else runs.files_of_run(connection, run_id),
        groups=() if run_id is None else evidence.groups_of_run(connection, run_id),
        columns=() if described is None else runs.column_statistics_of_run(connection, described),
        scoring=scoring,
        realised=read_realised(connection),
    )
