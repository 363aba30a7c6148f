"""Coordinates of the SVG charts of a model's shapes: curves, categories, and pairs as heat maps."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from msgspec import Struct

from scripts.data import profile
from scripts.data.profile import Bins
from scripts.model.effects import level_names
from scripts.model.explanation import format_value
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm, PairTerm

WIDTH, HEIGHT, FLOOR = 320.0, 130.0, 34.0
MARGIN, GAP = 6.0, 8.0
# Two standard errors on each side: 95 % of the curves that the data would allow.
N_ERRORS = 1.96
# The ends of the axis leave out so many clients, or a single one would squeeze all others.
SHARE_OUTSIDE = 0.005
N_CATEGORIES, N_PIECES = 12, 48
SMALLEST_SPAN, PADDING = 0.2, 0.08


class Bar(Struct, frozen=True):
    """A bar of the distribution of clients."""

    x: float
    y: float
    width: float
    height: float


class Curve(Struct, frozen=True):
    """The shape of a numeric column with interval and distribution, and the labels of the axes.

    `span` is the distance of its highest and lowest log-odds among the clients.
    """

    column: str
    line: str
    interval: str
    zero: float
    bars: tuple[Bar, ...]
    low_x: str
    high_x: str
    low: float
    high: float
    missing: float | None
    span: float
    width: float = WIDTH
    height: float = HEIGHT + FLOOR


class Category(Struct, frozen=True):
    """The value of a category and the share of clients with the category."""

    name: str
    value: float
    share: float | None
    x: float
    width: float


class Categories(Struct, frozen=True):
    """The shape of a categorical column, the categories with most clients first."""

    column: str
    entries: tuple[Category, ...]
    n_more: int
    span: float


class Cell(Struct, frozen=True):
    """A cell of a heat map, with the absolute value against the largest value as opacity."""

    value: float
    opacity: float


class HeatMap(Struct, frozen=True):
    """A pair of columns: the names of the second column, and a row of cells by the first column."""

    columns: tuple[str, str]
    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    span: float


def value_at(term: NumericTerm, number: float, values: Sequence[float]) -> float:
    """Return the value of a curve, or of the interval, at a number."""
    if not term.knots:
        return term.coefficient * ((number - term.mean) / term.scale)
    place = min(max(bisect_left(term.knots, number), 1), len(term.knots) - 1)
    if len(term.knots) == 1:
        return values[0]
    left, right = term.knots[place - 1], term.knots[place]
    share = min(max((number - left) / (right - left), 0.0), 1.0)
    return values[place - 1] + share * (values[place] - values[place - 1])


def draw_distribution(bins: Bins, low: float, high: float) -> tuple[Bar, ...]:
    """Return the distribution of the clients as bars of equal width."""
    step = (high - low) / N_PIECES
    heights = [0.0] * N_PIECES
    before = bins.edges[0]
    # Fewer edges than that are the values themselves.
    has_values = len(bins.edges) < profile.N_BINS
    for edge, count in zip(bins.edges, bins.counts, strict=False):
        # The clients of a bin are spread evenly over the pieces that it covers.
        first, last = (
            min(max(int((number - low) / step), 0), N_PIECES - 1) for number in (before, edge)
        )
        first = last if has_values or before == edge else min(first + 1, last)
        for piece in range(first, last + 1):
            heights[piece] += count / (last - first + 1)
        before = edge
    tallest = max(heights) or 1.0
    room = WIDTH - 2 * MARGIN
    return tuple(
        Bar(
            round(MARGIN + room * piece / N_PIECES, 2),
            round(HEIGHT + FLOOR - height / tallest * (FLOOR - GAP), 2),
            round(room / N_PIECES - 0.5, 2),
            round(height / tallest * (FLOOR - GAP), 2),
        )
        for piece, height in enumerate(heights)
        if height
    )


class Track(Struct, frozen=True):
    """A curve at some numbers among the clients, with the bounds of the interval."""

    numbers: list[float]
    values: list[float]
    lower: list[float]
    upper: list[float]


def follow(term: NumericTerm, bins: Bins) -> Track | None:
    """Return the curve of a column among the clients, or None for a single value."""
    if not bins.edges:
        return None
    low, high = (profile.quantile(bins, share) for share in (SHARE_OUTSIDE, 1 - SHARE_OUTSIDE))
    low, high = (low, high) if low < high else (bins.edges[0], bins.edges[-1])
    if low >= high:
        return None
    numbers = sorted({low, high, *(knot for knot in term.knots if low < knot < high)})
    errors = term.errors or (0.0,) * len(term.knots)
    bounds = [
        [v + sign * N_ERRORS * e for v, e in zip(term.values, errors, strict=True)]
        for sign in (0, -1, 1)
    ]
    return Track(numbers, *([value_at(term, x, own) for x in numbers] for own in bounds))


def draw_curve(term: NumericTerm, bins: Bins, track: Track, bottom: float, top: float) -> Curve:
    """Return the shape of a numeric column, on a scale from bottom to top."""
    low, high = track.numbers[0], track.numbers[-1]

    def place(number: float, value: float) -> str:
        """Return the position of a point in the coordinates of the chart."""
        x = MARGIN + (WIDTH - 2 * MARGIN) * (number - low) / (high - low)
        y = MARGIN + (HEIGHT - 2 * MARGIN) * (top - min(max(value, bottom), top)) / (top - bottom)
        return f"{x:.2f},{y:.2f}"

    def points(values: list[float]) -> list[str]:
        """Return the positions of a value at each number of the track."""
        return [place(*point) for point in zip(track.numbers, values, strict=True)]

    interval = [*points(track.upper), *reversed(points(track.lower))] if term.errors else []
    return Curve(
        column=term.column,
        line=" ".join(points(track.values)),
        interval=" ".join(interval),
        zero=float(place(low, 0.0).split(",")[1]),
        bars=draw_distribution(bins, low, high),
        low_x=format_value(low),
        high_x=format_value(high),
        low=min(track.values),
        high=max(track.values),
        missing=term.missing_coefficient if term.knots and term.missing_coefficient else None,
        span=max(track.values) - min(track.values),
    )


def draw_curves(model: Model, bins: Mapping[str, Bins]) -> list[Curve]:
    """Return the shapes of the numeric columns, all on the same scale of log-odds."""
    terms = [term for term in model.numeric if term.column in bins]
    tracks = {term.column: follow(term, bins[term.column]) for term in terms}
    values = [value for track in tracks.values() if track for value in track.values]
    bottom, top = min([*values, 0.0]), max([*values, 0.0])
    padding = max(PADDING * (top - bottom), SMALLEST_SPAN / 2)
    return [
        draw_curve(term, bins[term.column], track, bottom - padding, top + padding)
        for term in terms
        if (track := tracks[term.column]) is not None
    ]


def draw_categories(term: CategoricalTerm, counts: dict[str, int] | None) -> Categories | None:
    """Return the shape of a categorical column, or None for a single category."""
    found = dict(term.effects)
    if len(found) < len(("one", "another")):
        return None
    total = sum((counts or {}).values())
    shares = {name: (counts or {}).get(name, 0) / total if total else None for name in found}
    names = sorted(found, key=lambda name: (-(shares[name] or 0.0), name))[:N_CATEGORIES]
    largest = max(abs(found[name]) for name in names) or 1.0
    entries = []
    for name in names:
        width = 50 * abs(found[name]) / largest
        x = 50.0 if found[name] >= 0 else 50 - width
        entries.append(
            Category(format_value(name), found[name], shares[name], round(x, 2), round(width, 2))
        )
    span = max(found.values()) - min(found.values())
    return Categories(term.column, tuple(entries), len(found) - len(names), span)


def draw_pair(pair: PairTerm) -> HeatMap:
    """Return a pair as a heat map, without levels of no effect anywhere."""
    first, second = map(level_names, (pair.first, pair.second))
    places = [j for j in range(len(second)) if any(values[j] for values in pair.values)]
    rows = [(name, [v[j] for j in places]) for name, v in zip(first, pair.values, strict=True)]
    values = [value for _, row in rows for value in row]
    largest = max(map(abs, values), default=0.0) or 1.0
    return HeatMap(
        columns=pair.columns,
        names=tuple(second[j] for j in places),
        rows=tuple(
            (name, tuple(Cell(value, round(abs(value) / largest, 3)) for value in row))
            for name, row in rows
            if any(row)
        ),
        span=max(values, default=0.0) - min(values, default=0.0),
    )


class Shapes(Struct, frozen=True):
    """The shapes of a model, each kind with the widest span first."""

    curves: tuple[Curve, ...]
    categories: tuple[Categories, ...]
    pairs: tuple[HeatMap, ...]


def draw_shapes(model: Model) -> Shapes:
    """Return the shapes of a model with a reference, and the pairs alone without a reference.

    Parameters
    ----------
    model : Model
        Any model.

    Returns
    -------
    Shapes
        A column that is the same for all clients has no shape.
    """
    kept = model.dataset.reference
    bins = {} if kept is None else kept.numeric
    counts = {} if kept is None else kept.categorical
    curves = draw_curves(model, bins)
    categories = [draw_categories(t, counts.get(t.column)) for t in model.categorical]
    return Shapes(
        tuple(sorted(curves, key=lambda shape: -shape.span)),
        tuple(sorted(filter(None, categories), key=lambda shape: -shape.span)),
        tuple(sorted(map(draw_pair, model.pairs), key=lambda shape: -shape.span)),
    )
