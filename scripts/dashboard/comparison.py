"""The page of the comparison of two runs, with the curves of both models over each other."""

from collections.abc import Sequence
from typing import Any

from flask import request
from msgspec import Struct

from scripts.api import client_routes, run_routes
from scripts.api.responses import Answer, RefusedError
from scripts.core.errors import PipelineError
from scripts.dashboard import rendering
from scripts.model.explanation import format_value
from scripts.production.comparison_types import RunComparison, TermChange, TermPoint

WIDTH, HEIGHT, MARGIN = 320.0, 150.0, 6.0
SMALLEST_SPAN = 0.2
N_RUNS = 30
N_CATEGORIES = 12


class CurvePair(Struct, frozen=True):
    """The curves of a column in both models on the same scale, with the labels of the axes."""

    column: str
    change: TermChange
    line_a: str
    line_b: str
    zero: float
    low_x: str
    high_x: str
    low: float
    high: float
    missing: TermPoint | None


class CategoryPair(Struct, frozen=True):
    """The values of a column of texts in both models, the largest differences first."""

    column: str
    change: TermChange
    entries: tuple[TermPoint, ...]
    n_more: int


def draw_line(points: Sequence[TermPoint], side: str, bounds: tuple[float, float]) -> str:
    """Return the points of a curve in the coordinates of the chart, "" without the term."""
    low, high = float(points[0].value or 0), float(points[-1].value or 0)
    bottom, top = bounds
    places = []
    for point in points:
        value = getattr(point, side)
        if value is not None:
            x = MARGIN + (WIDTH - 2 * MARGIN) * (float(point.value or 0) - low) / (
                (high - low) or 1
            )
            y = MARGIN + (HEIGHT - 2 * MARGIN) * (top - value) / (top - bottom)
            places.append(f"{x:.2f},{y:.2f}")
    return " ".join(places)


def draw_curves(change: TermChange) -> CurvePair:
    """Return a number's curves in both models."""
    points = [point for point in change.points if point.value is not None]
    missing = next((point for point in change.points if point.value is None), None)
    values = [v for point in points for v in (point.a, point.b) if v is not None]
    low, high = min([*values, 0.0]), max([*values, 0.0])
    padding = max(0.05 * (high - low), SMALLEST_SPAN / 2)
    bounds = (low - padding, high + padding)
    return CurvePair(
        column=change.columns[0],
        change=change,
        line_a=draw_line(points, "a", bounds),
        line_b=draw_line(points, "b", bounds),
        zero=round(MARGIN + (HEIGHT - 2 * MARGIN) * bounds[1] / (bounds[1] - bounds[0]), 2),
        low_x=format_value(points[0].value or 0.0),
        high_x=format_value(points[-1].value or 0.0),
        low=min(values, default=0.0),
        high=max(values, default=0.0),
        missing=missing,
    )


def list_categories(change: TermChange) -> CategoryPair:
    """Return a text's values in both models."""
    ordered = sorted(change.points, key=lambda point: -abs((point.b or 0) - (point.a or 0)))
    shown = tuple(ordered[:N_CATEGORIES])
    return CategoryPair(change.columns[0], change, shown, len(ordered) - len(shown))


def is_number(change: TermChange) -> bool:
    """Return whether the points of a term are numbers."""
    return any(isinstance(point.value, float | int) for point in change.points)


def draw_terms(found: RunComparison) -> dict[str, Any]:
    """Return the changed terms by kind, for the page."""
    curves = [draw_curves(change) for change in found.terms if is_number(change)]
    texts = [
        list_categories(change) for change in found.terms if change.points and not is_number(change)
    ]
    return {
        "curves": curves,
        "texts": texts,
        "pairs": [change for change in found.terms if len(change.columns) > 1],
    }


def list_runs() -> list[Any]:
    """Return the last runs with a model, [] without an answer of the records."""
    try:
        return list(client_routes.run_query(lambda queries: queries.trained_runs(N_RUNS)))
    except (RefusedError, PipelineError):
        return []


def show() -> Answer:
    """Show two runs beside each other, or the form to choose them."""
    found, fault, drawn, status = None, "", {}, 200
    if request.args:
        try:
            found = run_routes.find_comparison(*run_routes.read_pair())
            drawn = draw_terms(found)
        except RefusedError as refusal:
            fault, status = refusal.detail, refusal.status
    now = client_routes.present_serving()
    return rendering.show(
        "comparison.html",
        status,
        found=found,
        fault=fault,
        runs=list_runs(),
        chosen=(request.args.get("a", ""), request.args.get("b", "")),
        tidy=now.without_folders,
        **({"curves": [], "texts": [], "pairs": []} | drawn),
    )
