"""One pass of Polars over a large dataset: facts of all rows, and rows drawn at random."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from msgspec import Struct, field

from scripts.core import progress
from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.data import (
    csv_reader,
    csv_writer,
    deduplicate,
    polars_reader,
    read_report,
    sampling,
)
from scripts.data.cells import LARGEST_NUMBER
from scripts.data.csv_reader import RefusedFileError
from scripts.data.deduplicate import Hashes, Numbers
from scripts.data.numeric_column import NumberBuffer
from scripts.data.polars_lines import Block
from scripts.data.sampling import Draw
from scripts.data.scanned_dataset import RowChoice, ScannedDataset

BATCH_ROWS = 2**16
BLOCK_BYTES = 2**23
COUNTED_BYTES = 2**18
# No record of a dataset is longer: a quote is not closed.
MAX_RECORD_BYTES = 2**26
IS_RIGHT = "adras is right"


def end_of_records(rest: bytes, content: bytes) -> int:
    """Return the place in content after the last line end outside of quotes, that of a rest too."""
    n_before = rest.count(b'"')
    end = content.rfind(b"\n") + 1
    while end and (n_before + content.count(b'"', 0, end)) % 2:
        end = content.rfind(b"\n", 0, end - 1) + 1
    return end


def iterate_blocks(path: Path, digest: "hashlib._Hash") -> Iterator[bytes]:
    """Yield the records of a dataset a block at a time, each block below the header.

    Of a file Polars would read some 250 MB ahead. The digest gets all bytes.
    """
    with path.open("rb") as handle:
        header, rest = handle.readline(), b""
        digest.update(header)
        while content := handle.read(BLOCK_BYTES):
            digest.update(content)
            end = end_of_records(rest, content)
            if end:
                yield b"".join((header, rest, memoryview(content)[:end]))
                rest = b""
            rest += content[end:]
            if len(rest) > MAX_RECORD_BYTES:
                break
        if rest:
            yield header + rest


def lazy_rows(content: bytes, schema: Schema) -> pl.LazyFrame:
    """Return the rows of a dataset with a flag: whether each is as ingestion writes rows."""
    kinds = dict.fromkeys(schema.columns, pl.String()) | dict.fromkeys(schema.numeric, pl.Float64())
    rows = pl.scan_csv(
        content, schema_overrides={**kinds, schema.target: pl.Int8()}, infer_schema=False,
        empty_string_is_null=False, low_memory=True,
    )  # fmt: skip
    lowest = schema.minimums
    proofs = [
        # NaN is larger than any number here.
        pl.col(n).is_between(lowest.get(n, -LARGEST_NUMBER), LARGEST_NUMBER).fill_null(True)
        for n in schema.numeric
    ]
    proofs += [pl.col(n).fill_null("") != "" for n in schema.ids]
    proofs += [pl.col(n).is_not_null() for n in schema.categorical]
    is_label = pl.col(schema.target).is_between(0, 1).fill_null(False)
    is_right = pl.all_horizontal(is_label, *proofs).alias(IS_RIGHT)
    return rows.select(*map(pl.col, schema.columns), is_right)


def find_fault(path: Path, schema: Schema) -> str:
    """Return the first fault of a dataset by the rules of rows, or ""."""
    reading = csv_reader.new_reading(path, schema)
    try:
        with path.open("rb") as handle:
            for _ in polars_reader.read_blocks(handle, schema, reading):
                pass
    except RefusedFileError as refusal:
        csv_reader.refuse(reading, refusal)
    return read_report.first_reasons(reading)[0] if reading.rejected else ""


def refuse(path: Path, schema: Schema, error: Exception | None = None) -> DatasetError:
    """Return the error of a damaged dataset, with the line by the rules of rows."""
    reason = find_fault(path, schema) or str(error or "")
    because = f": {reason}" if reason else ""
    return DatasetError(f"{path} is not as ingestion wrote it{because}. Run ingestion again.")


def iterate_batches(path: Path, schema: Schema, digest: "hashlib._Hash") -> Iterator[pl.DataFrame]:
    """Read a dataset a batch at a time, and add its bytes to a digest.

    Raises
    ------
    DatasetError
        If any row is not as ingestion writes it.
    """
    try:
        for block in iterate_blocks(path, digest):
            rows = lazy_rows(block, schema)
            for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
                if not batch[IS_RIGHT].all():
                    raise refuse(path, schema)
                yield batch
    except pl.exceptions.PolarsError as error:
        raise refuse(path, schema, error) from error


def to_arrow(series: pl.Series) -> pa.ChunkedArray:
    """Return a column in the Arrow layout of the project's tables."""
    array = series.to_arrow(compat_level=pl.CompatLevel.oldest())
    return pa.chunked_array([array])


def count_lines(path: Path) -> int:
    """Count the line ends in a file, on dense lines three times faster than `bytes.count`."""
    with path.open("rb") as handle:
        return sum(Block(part).n_ends for part in iter(lambda: handle.read(COUNTED_BYTES), b""))


def hash_rows(batch: pl.DataFrame, schema: Schema) -> Numbers:
    """Hash the rows of a batch as `deduplicate.hash_table_rows` does."""
    texts = {*schema.ids, *schema.categorical}
    columns = [
        to_arrow(batch[name]) if name in texts else batch[name].cast(pl.Float64()).to_numpy()
        for name in schema.columns
    ]
    return deduplicate.number_rows(columns, batch.height)


def to_table(rows: pa.Table, schema: Schema) -> pd.DataFrame:
    """Return features and target of rows as a table in memory."""
    texts = set(schema.categorical)
    return pd.DataFrame(
        {
            name: rows[name].combine_chunks().to_pandas().array
            if name in texts
            else rows[name].to_numpy()
            for name in rows.column_names
        },
        copy=False,
    )


def add_counts(
    counts: pl.DataFrame | None, batch: pl.DataFrame, name: str, target: str
) -> pl.DataFrame:
    """Add the rows of a batch to the counts of each category: stayed and left."""
    has_left = pl.col(target).cast(pl.Int64())
    found = batch.select(name, stayed=1 - has_left, left=has_left)
    both = found if counts is None else pl.concat([counts, found])
    summed = both.group_by(name, maintain_order=True).sum()
    # A copy, since texts would keep the whole batch in memory.
    copied = pl.from_arrow(summed.to_arrow(compat_level=pl.CompatLevel.oldest()))
    return cast(pl.DataFrame, copied)


class _Pass(Struct):
    """The state of a pass over a dataset."""

    schema: Schema
    drawn: Draw
    compared: Draw
    numbers: dict[str, NumberBuffer]
    n_rows: int = 0
    n_positives: int = 0
    counts: dict[str, pl.DataFrame] = field(default_factory=dict)
    hashes: Hashes = field(default_factory=lambda: np.zeros(0, np.uint32))

    def draw(
        self, batch: pl.DataFrame, seed: int, comparison: RowChoice | None, *, by_place: bool
    ) -> None:
        """Offer the next rows to the draws."""
        schema = self.schema
        hashes = hash_rows(batch, schema)
        places = np.arange(self.n_rows, self.n_rows + batch.height, dtype=np.uint64)
        keys = sampling.draw_keys(hashes, seed, places if by_place else None)
        self._offer(self.drawn, batch, keys)
        self.hashes = deduplicate.add_smallest(self.hashes, deduplicate.short_hashes(hashes))
        if comparison is None:
            return
        if comparison.schema.columns != schema.columns:
            hashes = hash_rows(batch, comparison.schema)
        is_chosen = comparison.choose(deduplicate.short_hashes(hashes))
        self._offer(self.compared, batch.filter(pl.Series(is_chosen)), keys[is_chosen])

    def _offer(self, draw: Draw, batch: pl.DataFrame, keys: Numbers) -> None:
        """Add further rows to a draw."""
        is_kept = draw.offer(keys)
        names = [*self.schema.features, self.schema.target]
        mask = pl.Series(is_kept, dtype=pl.Boolean)
        # Column by column: a query of Polars costs more than its work on so few rows.
        kept = {name: to_arrow(batch[name].filter(mask)) for name in names}
        draw.add(pa.table(kept), keys[is_kept])

    def count(self, batch: pl.DataFrame) -> None:
        """Count the numbers and the categories of further rows."""
        schema = self.schema
        has_left = batch[schema.target].to_numpy() == 1
        self.n_rows += batch.height
        self.n_positives += int(has_left.sum())
        for name, buffer in self.numbers.items():
            buffer.add(batch[name].to_numpy(), has_left)
        for name in schema.categorical:
            self.counts[name] = add_counts(self.counts.get(name), batch, name, schema.target)

    def categories(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Return the rows of each category: of stayers, and of leavers."""
        return {
            name: {text: (stayed, left) for text, stayed, left in counts.iter_rows()}
            for name, counts in self.counts.items()
        }

    def scanned(self, sha256: str) -> ScannedDataset:
        """Return the result of the pass."""
        n_to_compare = self.compared.n_offered
        return ScannedDataset(
            sha256=sha256, schema=self.schema, n_rows=self.n_rows, n_positives=self.n_positives,
            numeric={name: buffer.finish() for name, buffer in self.numbers.items()},
            categories=self.categories(), row_hashes=deduplicate.encode_smallest(self.hashes),
            rows=to_table(self.drawn.rows(), self.schema),
            compared=to_table(self.compared.rows(), self.schema), n_to_compare=n_to_compare,
        )  # fmt: skip


def scan(
    path: Path,
    schema: Schema,
    *,
    max_rows: int | None,
    seed: int,
    by_place: bool = False,
    comparison: RowChoice | None = None,
    folder: Path | None = None,
) -> ScannedDataset:
    """Read a dataset written by ingestion once.

    Parameters
    ----------
    path : Path
        Its file.
    schema : Schema
        Its columns.
    max_rows : int or None
        The number of rows to draw to fit to, and at most to compare; None for all.
    seed : int
        Of the draw.
    by_place : bool
        Whether the position of a row counts in the draw, for datasets with equal rows.
    comparison : RowChoice, optional
        The choice of rows to compare with a reference.
    folder : Path, optional
        Where hidden files hold the numbers of columns; without it they are in memory.

    Returns
    -------
    ScannedDataset
        The facts of all rows, and the drawn rows.

    Raises
    ------
    DatasetError
        If anything in the dataset is not as ingestion writes it.
    """
    n_lines = count_lines(path)

    def read(bound: int) -> tuple[_Pass, str]:
        """Pass over the dataset with a bound for the keys of drawn rows, and hash the bytes."""
        digest = hashlib.sha256()
        numbers = {name: NumberBuffer(n_lines, folder) for name in schema.numeric}
        seen = _Pass(schema, Draw(max_rows, bound), Draw(max_rows), numbers)
        with progress.shown("Reading the dataset", n_lines):
            written = csv_writer.ingested_schema(schema)
            for batch in iterate_batches(path, written, digest):
                seen.draw(batch, seed, comparison, by_place=by_place)
                seen.count(batch)
                progress.advance(batch.height, batch.height)
        return seen, digest.hexdigest()

    seen, sha256 = read(sampling.likely_bound(max_rows, n_lines))
    if seen.drawn.is_short:
        # Bad luck, or cells of several lines: there are fewer rows than lines.
        seen, sha256 = read(sampling.LARGEST_KEY)
    return seen.scanned(sha256)
