"""Hands out what a run has drawn: the charts of the pages, and the last report."""

import re
from pathlib import Path

from scripts import artifacts, gallery
from scripts.answers import Answer, RefusedError

# A hash in the name says what is in the file, so that it may be kept for ever.
NAME = re.compile(r"[a-z0-9_]+-[0-9a-f]{8,64}\.svg")
REPORT = re.compile(r"report_(\d{8}T\d{12}Z)\.pdf")
# A picture has its style within, and may do nothing else when it is opened by itself.
SVG_HEADERS = [
    ("Content-Type", "image/svg+xml"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
    ("Cache-Control", "private, max-age=31536000, immutable"),
]
NO_CHART = "There is no such chart; it was drawn anew, or never."
NO_REPORT = "There is no report yet: run python -m scripts.reporting --pdf."


def read_chart(folder: Path, file: str) -> Answer:
    """Give a chart, if it is one of those that are listed.

    Parameters
    ----------
    folder : Path
        The folder of models.
    file : str
        As asked for.

    Raises
    ------
    RefusedError
        With status 404.
    """
    drawn = gallery.read(folder)
    if drawn is None or drawn.find(file) is None or not NAME.fullmatch(file):
        raise RefusedError(404, NO_CHART)
    try:
        return Answer(200, (gallery.folder_of(folder) / file).read_bytes(), SVG_HEADERS)
    except OSError as error:
        raise RefusedError(404, NO_CHART) from error


def find_report(folder: Path) -> Path | None:
    """Find the newest report; None before the first one, or if the folder cannot be read."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return None
    reports = [n for n in names if (m := REPORT.fullmatch(n)) and artifacts.is_stamp(m[1])]
    return folder / max(reports) if reports else None


def read_report(folder: Path) -> Answer:
    """Give the newest report.

    Raises
    ------
    RefusedError
        With status 404, before the first one.
    """
    path = find_report(folder)
    if path is None:
        raise RefusedError(404, NO_REPORT)
    headers = [
        ("Content-Type", "application/pdf"),
        ("Content-Disposition", f'inline; filename="{path.name}"'),
    ]
    try:
        return Answer(200, path.read_bytes(), headers)
    except OSError as error:
        raise RefusedError(404, NO_REPORT) from error
