"""The folder of charts: pictures whose names say their content, and the index that lists them."""

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from scripts.core import files

INDEX = "index.json"
Page = Literal["overview", "models", "data"]

log = logging.getLogger(__name__)


class Chart(Struct, frozen=True, kw_only=True):
    """One picture: its file, what it is called, what it shows in words, and how large it is.

    `column` is the column of the table that a chart of the page "data" is about.
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
    """All pictures drawn at one moment, and the release that served then."""

    made_at: datetime
    release: str | None
    charts: tuple[Chart, ...]

    def find(self, file: str) -> Chart | None:
        """Find a picture by the name of its file; one that is not listed is not served."""
        return next((chart for chart in self.charts if chart.file == file), None)


def folder_of(output_model_path: Path) -> Path:
    """Name the folder of the charts."""
    return output_model_path / "charts"


def name_file(name: str, content: bytes) -> str:
    """Name the file of a picture after its content, so that a browser may keep it for ever."""
    return f"{name}-{files.digest(content)[:8]}.svg"


def read(output_model_path: Path) -> Gallery | None:
    """Read the index of the charts; None if none was drawn, or if it is not one."""
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
    """Write pictures, then the index that lists them, and remove those that it does not list.

    Parameters
    ----------
    output_model_path : Path
        The folder of the charts is made in it.
    pictures : sequence of tuple of Chart and bytes
        Each with its file, which `name_file` named.
    made_at : datetime
        When they were drawn.
    release : str or None
        What served then.

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
