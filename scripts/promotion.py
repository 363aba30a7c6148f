"""The promotion step: the decision whether the candidate replaces the production model."""

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec
import pandas as pd
from msgspec.structs import replace

from scripts import ingestion
from scripts.core import artifacts, console, files, terminal
from scripts.core.artifacts import Kind
from scripts.core.config import LATEST_ROWS, Config, Schema
from scripts.core.errors import InsufficientDataError, NotMadeYetError
from scripts.data import client_dates, dataset, kept_columns, schema_inference
from scripts.data.arrays import Ints
from scripts.engine import dated_ingest, dated_notices, mature_rows, pandas_engine
from scripts.model import logistic_model, metrics, paired_log_loss
from scripts.model.logistic_model import Model
from scripts.production import (
    approval,
    client_values,
    gate_simulation,
    promotion_gate,
    promotion_metric,
    shadow_types,
    withdrawals,
)
from scripts.production.gate_simulation import SimulationPlan
from scripts.production.promotion_gate import Decision, GateVerdict
from scripts.production.run_context import RunContext
from scripts.records import database, runs

log = logging.getLogger(__name__)


def check_withdrawals(decision: Decision, candidate: Model, prod_folder: Path) -> Decision:
    """Hold a candidate of the same origin as a withdrawn release."""
    withdrawn = withdrawals.find_withdrawal(withdrawals.read_withdrawals(prod_folder), candidate)
    if withdrawn is None or decision.answer is not GateVerdict.DEPLOY:
        return decision
    reason = (
        f"this model was {withdrawn.kind} as release {withdrawn.release} by {withdrawn.actor} at"
        f" {withdrawn.at:%Y-%m-%d %H:%M} UTC: {withdrawn.reason}"
    )
    if withdrawn.kind == "rolled back":
        reason += (
            "; to let it serve again: python -m scripts.deployment rollback"
            f" {withdrawn.release} --reason TEXT"
        )
    return replace(decision, answer=GateVerdict.HOLD, reason=reason)


def check_refusals(decision: Decision, refusals: Sequence[str]) -> Decision:
    """Hold a candidate refused by a check."""
    if not refusals or decision.answer is not GateVerdict.DEPLOY:
        return decision
    reason = f"refused by the check {'; and '.join(refusals)}"
    return replace(decision, answer=GateVerdict.HOLD, reason=reason)


def format_fact(value: object) -> str:
    """Format a value of a recorded decision."""
    if value is None:
        return "not defined"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def show_last(config: Config) -> None:
    """Show the last recorded decision with all its evidence."""
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        decisions = runs.list_decisions(connection, 1)
    if not decisions:
        raise NotMadeYetError("No decision is recorded yet; run python -m scripts.fullprocess.")
    facts = {name: value for name, value in decisions[0].items() if name not in ("id", "shadow")}
    rows = [(name, format_fact(value)) for name, value in facts.items()]
    beside = shadow_types.read_shadow(decisions[0]["shadow"])
    if beside is not None:
        rows += [(f"shadow: {name}", text) for name, text in shadow_types.describe(beside)]
    click.echo(terminal.format_columns(rows, has_header=False))


def decide(context: RunContext, candidate: Model, n_judged: int) -> Decision:
    """Compare a candidate with production on the test data, and return the verdict of the gate.

    Parameters
    ----------
    context : RunContext
        The test data and the release in production.
    candidate : Model
        The latest model.
    n_judged : int
        The number of candidates judged on the test rows, this candidate included.
    """
    table, _ = context.test_data.read(candidate.schema)
    production = context.current_release()
    predicted, losses, measured, why_uncompared = None, None, None, ""
    y = dataset.target(table, candidate.schema)
    labels, probability = metrics.predict_table(candidate, table)
    if production is not None and (
        mismatch := promotion_gate.find_mismatch(candidate.schema, production.model.schema)
    ):
        # The schema has changed: only a new model has the new columns.
        why_uncompared = f"release {production.name} cannot be compared: it {mismatch}"
        log.warning("The %s. Only the limits of rows hold a candidate back.", why_uncompared)
    elif production is not None:
        predicted, beside = metrics.predict_table(production.model, table)
        losses = paired_log_loss.compare(y, probability, beside) if len(y) else None
        measured = promotion_metric.compare(context, candidate, production.model, n_judged)
    return promotion_gate.should_deploy(
        y,
        labels,
        predicted,
        context.config.promotion,
        why_uncompared=why_uncompared,
        losses=losses,
        measured=measured,
        n_judged=n_judged,
    )


def warn_of_useless(decision: Decision) -> None:
    """Log a warning about a candidate for production without a single true prediction."""
    if decision.candidate_f1 == 0 and decision.answer is GateVerdict.DEPLOY:
        log.warning(
            "The model that goes into production finds none of the %d clients who left on the test"
            " rows: the order of the list is worth little. Bring more labelled rows, or columns"
            " that change before a client leaves. With checks.useless_model = \"refuse\" such a"
            " model is held back.", decision.n_test_positives,
        )  # fmt: skip


def main(
    config: Config,
    *,
    model_path: Path | None = None,
    context: RunContext | None = None,
    refusals: Sequence[str] = (),
    n_judged: int = 1,
) -> Decision:
    """Compare the latest model with production on the test data, and return the decision.

    Parameters
    ----------
    config : Config
        The installation.
    model_path : Path, optional
        The candidate, by default the latest model.
    context : RunContext, optional
        The context of the run.
    refusals : sequence of str
        The alarms of checks that hold the candidate.
    n_judged : int
        How many candidates the test rows have judged, this one included.

    Returns
    -------
    Decision
        With the evidence.
    """
    if model_path is None:
        model_path = artifacts.find_latest(config.output_model_path, Kind.MODEL, "training")
    candidate = logistic_model.load_model(model_path)
    context = context or RunContext(config)
    decision = decide(context, candidate, n_judged)
    production = context.current_release()
    decision = replace(
        decision,
        candidate_stamp=artifacts.stamp_of(model_path),
        production_release=None if production is None else production.name,
    )
    decision = check_refusals(decision, refusals)
    decision = check_withdrawals(decision, candidate, config.prod_deployment_path)
    log.info("Decided to %s: %s.", decision.answer, decision.reason)
    warn_of_useless(decision)
    return decision


def decide_or_show(config: Config, *, last: bool) -> None:
    """Decide whether the latest model should replace production, by the F1 on the test data."""
    if last:
        show_last(config)
    else:
        main(config)


def read_dated_table(
    paths: Sequence[Path], schema: Schema, config: Config
) -> tuple[pd.DataFrame, Schema, Ints | None]:
    """Read a labelled dated table: rows, schema of the dataset, days of the rows.

    Raises
    ------
    InsufficientDataError
        If no outcome is known for good.
    """
    alone, value = (
        msgspec.structs.replace(config, test_data_path=LATEST_ROWS),
        config.worklist.value,
    )
    read = dated_ingest.read_input(paths, schema, alone, client_dates.today())
    immature = dated_notices.explain_immature(read, config)
    if immature:
        raise InsufficientDataError(f"{immature} A replay needs the extracts of several months.")
    dated, written = mature_rows.select(read, schema), client_dates.dataset_schema(schema)
    if not isinstance(value, str) or value in written.features:
        return dated.table, written, dated.days
    kept = kept_columns.read(paths, written, [value], dated.table)
    worth = client_values.parse_values(kept[value].tolist(), value, written)
    return dated.table.assign(**{value: worth}), written, dated.days


def read_table(path: Path, config: Config) -> tuple[pd.DataFrame, Schema, Ints | None]:
    """Read a table, or the tables of a folder, as ingestion does.

    Returns labelled rows, the schema of the dataset, and the days of dated rows.

    The rows have the worth of the clients as well, where a column is declared that is no feature.
    """
    declared, paths = config.schema, [path]
    if path.is_dir():
        paths = list(files.list_tables(path))
        files.check_has_tables(paths, path)
    schema = schema_inference.complete(declared, None, paths) if declared.inferred else declared
    if schema.date:
        return read_dated_table(paths, schema, config)
    wanted = client_values.add_value(schema, config.worklist.value)
    table, _, _ = pandas_engine.read_input(paths, wanted, clean_more=ingestion.clean_more)
    return table, schema, None


def show_simulation(config: Config, *, table_path: Path, **settings: Any) -> None:
    """Replay batches of labelled rows under several gates, and count the downgrades.

    The columns are those of the schema in config.json. Part of the rows is held out. A promotion is
    a downgrade if the new model is worse on the held-out rows than the replaced one, by
    promotion.metric. With schema.date the batches come in order of time, and the held-out rows are
    the latest.
    """
    plan = SimulationPlan(**settings | {"n_test_rows": tuple(sorted(set(settings["n_test_rows"])))})
    table, schema, days = read_table(table_path, config)
    by_dataset = msgspec.structs.replace(config, schema=schema)
    results = gate_simulation.replay_table(table, by_dataset, plan, days)
    rows = gate_simulation.format_results(results)
    metric = config.promotion.metric
    click.echo(terminal.format_columns([gate_simulation.name_columns(metric), *rows]))
    for n_test_rows in plan.n_test_rows:
        terminal.echo(gate_simulation.advise(results, n_test_rows, metric))


def number_option(name: str, default: int | tuple[int, ...], text: str, least: int) -> click.Option:
    """Return an option for a whole number, or for several numbers with several defaults."""
    return click.Option(
        name.split(),
        type=click.IntRange(least),
        default=default,
        multiple=isinstance(default, tuple),
        show_default=True,
        help=text,
    )


def simulation_parameters() -> list[click.Parameter]:
    """Return the arguments and options of the simulation."""
    csv_file = click.Path(path_type=Path, exists=True)
    rows = "Test rows of the gate. May be given several times."
    return [
        click.Argument(["table_path"], metavar="TABLE.csv|FOLDER", type=csv_file),
        number_option("--batches n_batches", 10, "Number of candidates.", 2),
        number_option("--test-rows n_test_rows", (50, 200, 1000), rows, 1),
        number_option("--repeats n_repeats", 20, "Number of shuffles of the table.", 1),
        number_option("--seed", 0, "Seed of the shuffles.", 0),
        click.Option(
            ["--cumulative/--separate"],
            default=True,
            show_default=True,
            help="Train on all batches so far, or on each batch alone.",
        ),
    ]


def approve(config: Config, *, release_name: str | None, reason: str) -> None:
    """Approve the pending candidate as the release in production."""
    approval.approve(config, release_name=release_name, reason=reason, actor=console.actor())


def reject(config: Config, *, release_name: str | None, reason: str) -> None:
    """Reject the pending candidate without a change of production."""
    approval.reject(config, release_name=release_name, reason=reason, actor=console.actor())


def make_program() -> click.Group:
    """Return the command line: decide, approve, reject, or simulate gates."""
    reason = click.Option(
        ["--reason"], required=True, callback=console.check_reason,
        help="Reason, kept in the records.",
    )  # fmt: skip
    wanted = click.Argument(["release_name"], required=False, metavar="[RELEASE]")
    answers = [
        console.make_command(console.with_config(answer, exclusive=True), (wanted, reason), name)
        for name, answer in (("approve", approve), ("reject", reject))
    ]
    last = click.Option(["--last"], is_flag=True, help="Show the last recorded decision instead.")
    decide, replay = console.with_config(decide_or_show), console.with_config(show_simulation)
    return console.make_group_with_default(
        console.make_command(decide, [last]),
        [*answers, console.make_command(replay, simulation_parameters(), "simulate")],
    )


if __name__ == "__main__":
    console.run_program(make_program())
