"""An installation with a client whose cells no other client has, and a search of every byte."""

import re
import struct
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from scripts.core.config import Config, Schema
from scripts.records import column_blocks, database, tables

NAME = "CANARY-NAME-77"
CITY, TIER, NOTE, COMPANY = "CanaryCityZ", "TierCanary", "met at the fair", "Canary and Sons"
NUMBERS = (987654.25, 4321.0625, -77.140625)
HEADER = "corporation,month,year,net,city,tier,exited,company"
SCHEMA = Schema(
    ids=("corporation",), numeric=("month", "year", "net"), categorical=("city", "tier"),
    negative=0, names=("company",),
)  # fmt: skip
ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
TEXTS = (NAME, CITY, TIER, NOTE, COMPANY)


def row(name: str = NAME, label: str = "1") -> str:
    """Return the row of the client in an extract, with another name if wanted."""
    month, year, net = NUMBERS
    return f"{name},{month},{year},{net},{CITY},{TIER},{label},{COMPANY}"


def make_rows(n_rows: int, seed: int, *, labelled: bool = True) -> list[str]:
    """Return the rows of other clients."""
    random, rows = Random(seed), []
    for number in range(n_rows):
        month, year, net = random.randrange(200), random.randrange(20000) / 4, random.gauss(0, 50)
        city, tier = random.choice(["Bern", "Graz", "Ulm"]), random.choice(["A1", "B2"])
        label = int(month + random.gauss(0, 30) < 70) if labelled else ""
        rows.append(
            f"s{seed}n{number},{month},{year},{net:.3f},{city},{tier},{label},firm {number}"
        )
    return rows


def write(path: Path, rows: list[str]) -> Path:
    """Write a table of clients."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def install(config: Config, n_rows: int = 120) -> Config:
    """Return an installation whose extracts, upload and test data have the client."""
    for path in (*config.input_folder_path.iterdir(), *config.test_data_path.iterdir()):
        path.unlink()
    write(config.input_folder_path / "jan.csv", [*make_rows(n_rows, 1), row()])
    today = [*make_rows(20, 4, labelled=False), row(label=""), row(label="maybe")]
    write(config.input_folder_path / "upload_20260101T000000000000Z.csv", today)
    write(config.test_data_path / "test.csv", [*make_rows(80, 3), row()])
    return configure(config)


def configure(config: Config) -> Config:
    """Return the settings with the columns, and with kept inputs."""
    retention = msgspec.structs.replace(config.retention, inputs=True)
    return msgspec.structs.replace(config, schema=SCHEMA, retention=retention)


def list_needles() -> Iterator[bytes]:
    """Yield the bytes of each cell of the client, in the forms in which programs write them."""
    for text in TEXTS:
        for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
            yield text.encode(encoding)
    for number in NUMBERS:
        yield str(abs(number)).encode()
        yield from (struct.pack(form, number) for form in ("<d", ">d", "<f"))


def list_streams(content: bytes) -> Iterator[bytes]:
    """Yield what is compressed within bytes, as in a PDF."""
    for match in ZLIB.finditer(content):
        try:
            yield zlib.decompressobj().decompress(content[match.start() :], 2**24)
        except zlib.error:
            continue


def find_files(
    folder: Path, left_out: Collection[Path] = (), needles: Sequence[bytes] = ()
) -> list[str]:
    """Return the files with a cell of the client, or other needles, in any byte."""
    needles, found = needles or list(list_needles()), []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path not in left_out:
            content = path.read_bytes()
            parts = [content, *list_streams(content)]
            if any(needle in part for needle in needles for part in parts):
                found.append(str(path.relative_to(folder)))
    return found


def find_in_blocks(engine: Engine) -> list[str]:
    """Return the blocks of scores with the client."""
    found = []
    with database.reading(engine) as connection:
        for block in connection.execute(sa.select(tables.client_blocks)):
            names = [] if block.names is None else column_blocks.join_texts(block.names).split("\0")
            columns = column_blocks.unpack(block.content).values()
            numbers = [c for c in columns if c.dtype == np.float64]
            texts = {text for c in columns if c.dtype == np.object_ for text in c.tolist()}
            if (
                NAME in names
                or texts & set(TEXTS)
                or any(np.isin(column, NUMBERS).any() for column in numbers)
            ):
                found.append(f"{block.scoring_id} {block.kind} {block.bucket}")
    return found


def find_in_tables(engine: Engine) -> list[str]:
    """Return the tables with a cell of the client."""
    shown = [*TEXTS, *map(str, NUMBERS)]
    with database.reading(engine) as connection:
        return [
            table.name
            for table in tables.metadata.sorted_tables
            for found in connection.execute(sa.select(table))
            if any(text in repr(tuple(found)) for text in shown)
        ]
