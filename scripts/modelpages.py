"""The pages about the model and its data: how good, why, and whether they drift."""

from typing import Any

from flask import request

from scripts import clientviews, effects, gallery, handouts, pages, sparkline
from scripts.answers import Answer, RefusedError
from scripts.frontdoor import SERVING
from scripts.gallery import Chart, Gallery
from scripts.live import Serving

N_MODELS, N_DEPLOYMENTS, N_RUNS = 30, 20, 30


def sort_charts(drawn: Gallery | None) -> dict[str, list[Chart]]:
    """Sort the charts by the page that shows them."""
    by_page: dict[str, list[Chart]] = {"overview": [], "models": [], "data": []}
    for chart in () if drawn is None else drawn.charts:
        by_page[chart.page].append(chart)
    return by_page


def show_records(template: str, question: Any, **facts: Any) -> Answer:
    """Render a page of what the records answer, or of why they do not."""
    now: Serving = request.environ[SERVING]
    answered, fault = {}, ""
    try:
        answered = clientviews.ask(question)
    except RefusedError as refusal:
        fault = refusal.detail
    drawn = gallery.read(now.config.output_model_path)
    return pages.show(
        template,
        fault=fault,
        charts=sort_charts(drawn),
        drawn_of=None if drawn is None else drawn.release,
        tidy=now.without_folders,
        **(facts | answered),
    )


def models() -> Answer:
    """Show the model that serves, how it came to, and those before it."""
    now: Serving = request.environ[SERVING]
    release = now.release
    stamp = None if release is None else release.manifest.model_stamp

    def question(connection: Any, _now: Serving) -> dict[str, Any]:
        # Imported by the first question, as in clientviews.
        from scripts import database, overview, runstory  # noqa: PLC0415

        return {
            **overview.find_evidence(connection, stamp),
            "models": runstory.decided_models(connection, N_MODELS),
            "deployments": database.list_deployments(connection, N_DEPLOYMENTS),
        }

    return show_records(
        "models.html",
        question,
        served=release,
        effects=[] if release is None else effects.list_effects(release.model),
        model=None,
        decision=None,
        models=[],
        deployments=[],
    )


def data() -> Answer:
    """Show the columns of the last dataset, their drift, and one column over the runs."""
    wanted = request.args.get("column", "")

    def question(connection: Any, _now: Serving) -> dict[str, Any]:
        # As above.
        from scripts import database, overview, runstory  # noqa: PLC0415

        run_id = runstory.last_described_run(connection)
        if run_id is None:
            return {"states": overview.find_states(connection)}
        columns = database.column_statistics_of_run(connection, run_id)
        past = {
            row["column"]: database.list_column_statistics(connection, row["column"], N_RUNS)
            for row in columns
        }
        return {
            "run": database.find_run(connection, run_id),
            "states": overview.find_states(connection),
            "columns": columns,
            "trends": {
                name: sparkline.draw_trend([row["mean"] for row in reversed(rows)])
                for name, rows in past.items()
            },
            "history": past.get(wanted, []),
        }

    return show_records(
        "data.html", question, wanted=wanted, run=None, states=[], columns=[], trends={}, history=[]
    )


def chart(file: str) -> Answer:
    """Give a chart that a run has drawn."""
    now: Serving = request.environ[SERVING]
    return handouts.read_chart(now.config.output_model_path, file)
