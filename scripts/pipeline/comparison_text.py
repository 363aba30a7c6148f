"""The comparison of two runs as text, at most 80 columns wide."""

import textwrap
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from scripts.core import terminal
from scripts.production.comparison_types import (
    FileChange,
    ListChange,
    ListedClient,
    MetricChange,
    RunComparison,
    RunSide,
    TermChange,
    ValueChange,
)

WIDTH = 80
INDENT, FURTHER = "  ", "      "
# Clients named on each side; the JSON and the page name more.
N_NAMED = 10
NONE = "none"


def wrap(text: str) -> str:
    """Return a line of a section, broken at 80 columns."""
    return textwrap.fill(
        text, WIDTH, initial_indent=INDENT, subsequent_indent=FURTHER, break_on_hyphens=False
    )


def format_sides(a: RunSide, b: RunSide) -> str:
    """Return both runs in two columns."""
    rows: list[tuple[str, ...]] = [("", f"a: run {a.run_id}", f"b: run {b.run_id}")]
    started = [datetime.fromisoformat(side.started_at) for side in (a, b)]
    rows.append(("started", *(f"{at:%Y-%m-%d %H:%M} UTC" for at in started)))
    for title, name in (("verdict", "verdict"), ("model", "model_stamp"), ("serving", "release")):
        rows.append((title, *(str(getattr(side, name) or NONE)[:32] for side in (a, b))))
    return terminal.format_columns(rows)


def format_change(change: ValueChange) -> str:
    """Return a changed setting, version or column as a line."""
    return wrap(f"{change.name}: {change.a or NONE} -> {change.b or NONE}")


def format_file(change: FileChange) -> str:
    """Return a changed file as a line."""
    counts = [f"{n:,}" for n in (change.n_rows_a, change.n_rows_b) if n is not None]
    rows = f" ({' -> '.join(counts)} rows)" if counts else ""
    return wrap(f"{change.change} {change.role} {Path(change.path).name}{rows}")


def format_term(change: TermChange) -> str:
    """Return a changed term as a line."""
    kinds: str = change.kind_a
    if change.kind_a != change.kind_b:
        kinds = f"{change.kind_a} -> {change.kind_b}"
    name = " with ".join(change.columns)
    return wrap(f"{name} ({kinds}): up to {change.largest:.2f} log-odds apart, at {change.widest}")


def format_number(value: float | None, pattern: str = ".4f") -> str:
    """Format a metric, or "not defined" for None."""
    return "-" if value is None else format(value, pattern)


def format_metrics(found: Sequence[MetricChange]) -> str:
    """Return the metrics as a table."""
    rows = [("metric", "a", "b", "b less a", "95 % interval", "P(b better)")]
    for metric in found:
        interval = ""
        if metric.low is not None and metric.high is not None:
            interval = f"{metric.low:+.4f} to {metric.high:+.4f}"
        better = metric.probability_b_better
        rows.append(
            (
                metric.name.replace(" per client", ""), format_number(metric.a),
                format_number(metric.b), format_number(metric.difference, "+.4f"), interval,
                "" if better is None else f"{better:.3f}",
            )
        )  # fmt: skip
    return textwrap.indent(terminal.format_columns(rows), INDENT)


def name_clients(clients: Sequence[ListedClient], n_all: int) -> str:
    """Return the first names of a list, and the number of the remaining clients."""
    if not n_all:
        return "nobody"
    n_more = n_all - min(N_NAMED, len(clients))
    named = ", ".join(client.client for client in clients[:N_NAMED])
    return f"{named}{f' and {n_more:,} more' if n_more else ''}"


def format_lists(lists: ListChange) -> list[str]:
    """Return the lines about both lists."""
    lines = (
        f"{lists.n_both:,} on both lists; a has {lists.n_listed_a:,} of release {lists.release_a},"
        f" b {lists.n_listed_b:,} of release {lists.release_b}",
        f"only on a: {name_clients(lists.only_a, lists.n_only_a)}",
        f"only on b: {name_clients(lists.only_b, lists.n_only_b)}",
    )
    return [wrap(line) for line in lines]


def format_section(title: str, lines: Sequence[str], unknown: str | None) -> str:
    """Return a section: its lines, "no difference", or the reason for a missing comparison."""
    content = [wrap(f"unknown: {unknown}")] if unknown else list(lines) or [wrap("no difference")]
    return "\n".join(["", title, *content])


def format_comparison(found: RunComparison) -> str:
    """Return a comparison as text.

    Parameters
    ----------
    found : RunComparison
        The comparison.

    Returns
    -------
    str
        Sections of lines of at most 80 columns, but for longer names.
    """
    metrics = [format_metrics(found.metrics)] if found.metrics else []
    lists = [] if found.lists is None else format_lists(found.lists)
    terms = [format_term(change) for change in found.terms]
    if found.n_equal_terms:
        terms.append(wrap(f"equal in both: {found.n_equal_terms} terms"))
    sections = (
        ("Settings", "settings", [format_change(change) for change in found.settings]),
        ("Versions", "versions", [format_change(change) for change in found.versions]),
        ("Files", "files", [format_file(change) for change in found.files]),
        ("Schema", "schema", [format_change(change) for change in found.schema]),
        ("Terms of the model", "terms", terms),
        (f"Metrics on the {found.n_test_rows:,} test rows of now", "metrics", metrics),
        ("List to call", "lists", lists),
    )
    return "\n".join(
        [
            format_sides(found.a, found.b),
            wrap(f"model of a: {found.a.model_from}"),
            wrap(f"model of b: {found.b.model_from}"),
            *(
                format_section(title, lines, found.unknown.get(key))
                for title, key, lines in sections
            ),
        ]
    )
