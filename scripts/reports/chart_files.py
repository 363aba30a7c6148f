"""The folder of charts: SVG files named by content digest, and the index."""

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from scripts.core import files

INDEX = "index.json"
Page = Literal["overview", "models", "data", "worklist"]

log = logging.getLogger(__name__)


class Chart(Struct, frozen=True, kw_only=True):
    """The entry of a chart in the index: file, title, text alternative and size.

    `column` is the subject of a chart of the page "data", a column of the table.
    """

    name: str
    file: str
    title: str
    alt: str
    width: int
    height: int
    page: Page
    column: str | None = None


class Gallery(Struct, frozen=True, kw_only=True):
    """The charts of a run, and the release in production at the time."""

    made_at: datetime
    release: str | None
    charts: tuple[Chart, ...]

    def find(self, file: str) -> Chart | None:
        """Find a chart by file name, None for an unlisted file, which is not served."""
        return next((chart for chart in self.charts if chart.file == file), None)


def folder_of(output_model_path: Path) -> Path:
    """Return the folder of the charts."""
    return output_model_path / "charts"


def name_file(name: str, content: bytes) -> str:
    """Return a file name with the content's digest, which a browser may cache for ever."""
    return f"{name}-{files.digest(content)[:8]}.svg"


def read(output_model_path: Path) -> Gallery | None:
    """Read the index of the charts, None if missing or damaged."""
    path = folder_of(output_model_path) / INDEX
    try:
        return msgspec.json.decode(path.read_bytes(), type=Gallery)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s cannot be used, which hides the charts: %s.", path, error)
        return None


def write(
    output_model_path: Path,
    pictures: Sequence[tuple[Chart, bytes]],
    made_at: datetime,
    release: str | None,
) -> Path:
    """Write chart files, then the index, and remove unlisted files.

    Parameters
    ----------
    output_model_path : Path
        The folder of the charts is made in it.
    pictures : sequence of tuple of Chart and bytes
        Each entry with the content of the file, named by `name_file`.
    made_at : datetime
        The time of drawing.
    release : str or None
        The release in production.

    Returns
    -------
    Path
        The index.
    """
    folder = folder_of(output_model_path)
    for chart, content in pictures:
        if not (folder / chart.file).exists():
            files.write_whole(folder / chart.file, content)
    gallery = Gallery(made_at=made_at, release=release, charts=tuple(c for c, _ in pictures))
    encoded = msgspec.json.format(msgspec.json.encode(gallery), indent=2) + b"\n"
    path = files.write_whole(folder / INDEX, encoded)
    listed = {chart.file for chart in gallery.charts}
    for old in folder.glob("*.svg"):
        if old.name not in listed:
            old.unlink()
    return path
